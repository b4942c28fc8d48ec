"""`election.lead()`: one term, for as long as a block takes. The place is given up when the block has ended."""

from __future__ import annotations

import _thread
import asyncio
import sys
import time
from types import TracebackType
from typing import Callable, Dict, Iterable, Optional, Tuple, Type, Union

from ._errors import EtcdLeaderError, StoppedError, error_of
from ._events import Ended, Event, Recovered, Retrying, Unelected
from ._handle import SLICE_S, Handle
from ._readable import forget, readable
from ._run import Run
from ._term import AsyncLoss, AsyncTerm, Loss, Term, reason_of
from ._turn import Claim

#: The time between two looks at a term while the clock is in doubt.
_DOUBT_S = 0.05


class Lead:
    """Both `with` and `async with` take it, once.

    Entering starts the election if it does not run, and waits until we lead. Leaving stops it and gives the place up.
    """

    def __init__(self, begin: Callable[[], Tuple[Run, Claim]]) -> None:
        self._begin = begin
        self._lead: Union[_SyncLead, _AsyncLead, None] = None

    def __enter__(self) -> Term:
        self._lead = lead = _SyncLead(*self._begin())
        return lead.enter()

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        assert isinstance(self._lead, _SyncLead)
        self._lead.leave(error)

    async def __aenter__(self) -> AsyncTerm:
        self._lead = lead = _AsyncLead(*self._begin())
        return await lead.enter()

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        assert isinstance(self._lead, _AsyncLead)
        await self._lead.leave(error)


class _Lead:
    """What both have in common: what is heard, and what comes of it."""

    def __init__(self, run: Run, claim: Claim) -> None:
        self._run = run
        #: To its turn.
        self._claim = claim
        self._handle = run.handle
        #: Our term, once the work may begin.
        self._token: Optional[int] = None
        self._ended: Optional[Ended] = None

    def _hear(self, event: Event) -> None:
        if isinstance(event, Ended):
            self._ended = event

    def _is_decided(self) -> bool:
        """Whether we lead, or never will. A term that was told before the call is taken."""
        has_ended = self._run.listen(self._hear)
        self._run.raise_mishap()
        # The callback may have stopped the election when it heard of the term.
        if not self._handle.is_stopped and self._handle.token() == self._run.token:
            self._token = self._run.token
        return has_ended or self._token is not None or self._handle.is_stopped

    @property
    def _is_in_doubt(self) -> bool:
        """A term was told, and the clock is in doubt for a while, of which no event tells; or its end is not told yet."""
        return self._run.token is not None

    def _verdict(self) -> Optional[EtcdLeaderError]:
        """The fault to raise although the work has ended well."""
        return None if self._ended is None or self._ended.code == "EL_OK" else reason_of(self._ended)

    def _why_not_begun(self) -> EtcdLeaderError:
        """Asked before `_end`, which stops it too. After a stop the end tells of a term before this call, if there was one."""
        if self._ended is None or self._handle.is_stopped:
            return StoppedError("EL_STOPPED", "the election was stopped before the work began")
        return error_of(self._ended.code, self._ended.message)

    def _raise_verdict(self) -> None:
        verdict = self._verdict()
        if verdict is not None:
            raise verdict


class _SyncLead(_Lead):
    _watcher: Optional[_Watcher] = None

    def enter(self) -> Term:
        try:
            while not self._is_decided():
                self._handle.wait(time.monotonic() + _DOUBT_S if self._is_in_doubt else None)
            if self._token is not None:
                lost = Loss(self._handle, self._token)
                self._watcher = _Watcher(self._handle, lost)
                self._watcher.start()
                return Term(self._token, lost)
            raise self._why_not_begun()
        except BaseException:
            self._end()
            raise

    def leave(self, error: Optional[BaseException]) -> None:
        if self._handle.is_inherited:
            return
        self._end()
        if error is None:
            self._raise_verdict()

    def _end(self) -> None:
        try:
            if self._watcher is not None:
                for event in self._watcher.end():
                    self._run.tell(event)
                    self._hear(event)
            self._run.leave(self._hear)
        finally:
            self._claim.is_over = True


class _Watcher:
    """Takes the events while the work runs, and sets `lost` when the term is over. They are told after the work."""

    def __init__(self, handle: Handle, lost: Loss) -> None:
        self._handle, self._lost = handle, lost
        # Of news that replaces other news, the last.
        self._missed: Dict[Type[Event], Event] = {}
        #: Held until the thread has ended. It is not one of `threading`: starting those stands no signal handler that raises.
        self._running = _thread.allocate_lock()
        self._has_begun = False

    def start(self) -> None:
        self._running.acquire()
        try:
            # Where gevent or eventlet has put greenlets in the place of threads, this is one.
            _thread.start_new_thread(self._run, ())
        except RuntimeError:
            self._running.release()
            raise EtcdLeaderError("EL_INTERNAL", "the system gives no thread to watch the term on") from None

    def _run(self) -> None:
        self._has_begun = True
        try:
            while not self._is_over():
                self._handle.wait()
        except EtcdLeaderError as error:
            self._lost._set(error)
        finally:
            self._running.release()

    def _is_over(self) -> bool:
        """Takes the events that are due. True: the term is over."""
        event = self._handle.peek()
        while event is not None:
            self._handle.drop()
            kind: Type[Event] = Retrying if isinstance(event, Recovered) else type(event)
            self._missed.pop(kind, None)
            self._missed[kind] = event
            if isinstance(event, (Unelected, Ended)):
                self._lost._set(reason_of(event))
                # One term is all there is. After a stop this does nothing.
                self._handle.stop()
                return True
            event = self._handle.peek()
        return self._handle.has_ended

    def end(self) -> Iterable[Event]:
        """The work is over. Gives the events that are left to tell, up to the end of the term."""
        try:
            self._handle.stop()
            self._handle.release()
            # A signal handler that raised may have kept it from beginning.
            while not self._running.acquire(timeout=SLICE_S) and self._has_begun:
                # Another may have forked, and this be the child: nobody watches here.
                self._handle.check_fork()
        except BaseException:
            self._handle.abandon()
            raise
        return self._missed.values()


class _AsyncLead(_Lead):
    _lost: Optional[AsyncLoss] = None
    _has_cancelled = False
    _cancelling = 0

    async def enter(self) -> AsyncTerm:
        try:
            while not self._is_decided():
                await (asyncio.sleep(_DOUBT_S) if self._is_in_doubt else readable(self._handle))
            if self._token is not None:
                return self._begin(self._token)
            raise self._why_not_begun()
        except BaseException:
            await self._end()
            raise

    def _begin(self, token: int) -> AsyncTerm:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        if sys.version_info >= (3, 11):
            self._cancelling = task.cancelling()
        self._lost = lost = AsyncLoss(self._handle, token)
        self._loop.add_reader(self._handle.fd(), self._on_due)
        return AsyncTerm(token, lost)

    def _on_due(self) -> None:
        """While the work runs, events are told as they come."""
        try:
            event = self._run.look()
            while event is not None:
                self._run.took(event)
                self._hear(event)
                if isinstance(event, (Unelected, Ended)):
                    return self._is_over(reason_of(event))
                event = self._run.look()
        except EtcdLeaderError as error:
            self._is_over(error)

    def _is_over(self, why: EtcdLeaderError) -> None:
        forget(self._loop, self._handle)
        assert self._lost is not None
        self._lost._set(why)
        # One term is all there is. After a stop this does nothing.
        self._handle.stop()
        self._has_cancelled = True
        self._task.cancel()

    async def leave(self, error: Optional[BaseException]) -> None:
        if self._handle.is_inherited:
            return
        if isinstance(error, GeneratorExit):
            # The task was dropped, or its loop closed: nothing can be awaited.
            self._listen_no_more()
            self._handle.abandon()
            self._claim.is_over = True
            return
        is_ours = self._take_back_cancelling() and isinstance(error, asyncio.CancelledError)
        await self._end()
        if error is None:
            self._raise_verdict()
        elif is_ours:
            assert self._lost is not None
            raise self._verdict() or self._lost._why or AssertionError("no reason") from error

    def _take_back_cancelling(self) -> bool:
        """As asyncio.timeout() does: whether nobody but us has cancelled the task."""
        if not self._has_cancelled:
            return False
        if sys.version_info >= (3, 11):
            return self._task.uncancel() <= self._cancelling
        return True

    async def _end(self) -> None:
        try:
            self._listen_no_more()
            await self._run.leave_async(self._hear)
        finally:
            self._claim.is_over = True

    def _listen_no_more(self) -> None:
        if self._lost is not None:
            forget(self._loop, self._handle)
