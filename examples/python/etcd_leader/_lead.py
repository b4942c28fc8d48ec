"""`election.lead()`: one term, for as long as a block takes. The place is given up when the block has ended."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from types import TracebackType
from typing import Callable, Optional, Tuple, Type, Union

from ._aside import in_background
from ._errors import EtcdLeaderError, LostError, StoppedError, error_of
from ._events import Event, Failed, Unelected
from ._handle import Handle
from ._readable import forget
from ._run import Run
from ._term import AsyncLoss, AsyncTerm, Loss, Term, reason_of


class Lead:
    """Both `with` and `async with` take it, once.

    Entering starts the election if it does not run, and waits until we lead. Leaving stops it and gives the place up.
    """

    def __init__(self, begin: Callable[[], Tuple[Run, threading.Lock]]) -> None:
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


def _ended() -> StoppedError:
    return StoppedError("EL_STOPPED", "the election has ended")


class _Lead:
    """What both have in common: what is heard, and what comes of it."""

    def __init__(self, run: Run, claim: threading.Lock) -> None:
        self._run = run
        #: To its turn.
        self._claim = claim
        self._handle = run.handle
        #: Our term, once the work may begin.
        self._token: Optional[int] = None
        self._loss: Optional[Unelected] = None
        self._failure: Optional[Failed] = None
        #: `stop_timeout_ms` passed after a stop before the work had ended.
        self._is_late = False

    def _hear(self, event: Event) -> None:
        if isinstance(event, Unelected) and self._token is not None:
            self._loss = self._loss or event
        elif isinstance(event, Failed):
            self._failure = event

    def _is_decided(self) -> bool:
        """Whether we lead, or never will. A term that was told before the call is taken."""
        self._handle.collect_if_due()
        is_over = self._run.tell_rest(self._hear)
        self._run.raise_mishap()
        # The callback may have stopped the election when it heard of the term.
        if not self._handle.is_stopped:
            self._token = self._run.term = self._handle.inbox.told
        return is_over or self._token is not None or self._handle.is_stopped

    def _verdict(self) -> Optional[EtcdLeaderError]:
        """What is wrong although the work has ended well, or why it never began."""
        if self._failure is not None:
            return error_of(self._failure.code, self._failure.message)
        if self._loss is not None and self._loss.code != "EL_STOPPED":
            return reason_of(self._loss)
        if self._token is None:
            return StoppedError("EL_STOPPED", "the election was stopped before we led")
        if self._loss is not None and self._handle.token_at_stop != self._token:
            return LostError("EL_DEADLINE", "leading was not certain any more when the work had ended")
        if self._is_late:
            return StoppedError("EL_STOPPED", "the election was stopped, and stop_timeout_ms passed before the work had ended")
        return None

    def _raise_verdict(self) -> None:
        verdict = self._verdict()
        if verdict is not None:
            raise verdict


class _SyncLead(_Lead):
    _watcher: Optional[_Watcher] = None

    def enter(self) -> Term:
        try:
            self._run.wait_until(self._is_decided)
            if self._token is not None:
                lost = Loss(self._handle, self._token)
                self._watcher = _Watcher(self._handle, lost)
                self._watcher.start()
                return Term(self._token, lost)
        except BaseException:
            self._end()
            raise
        self._end()
        raise self._verdict() or AssertionError("no verdict")

    def leave(self, error: Optional[BaseException]) -> None:
        if self._handle.is_inherited:
            return
        self._end()
        if error is None:
            self._raise_verdict()

    def _end(self) -> None:
        try:
            if self._watcher is not None:
                self._is_late = self._watcher.end()
            self._run.leave(self._hear)
        finally:
            self._claim.release()


class _Watcher:
    """Collects while the work runs, and sets `lost` when the term is over. What it collects is told after the work."""

    def __init__(self, handle: Handle, lost: Loss) -> None:
        self._handle, self._lost = handle, lost
        self._is_work_over = threading.Event()
        self._is_late = False
        #: Held until the thread has ended. It is not one of `threading`: starting those stands no signal handler that raises.
        self._running = threading.Lock()

    def start(self) -> None:
        self._running.acquire()
        if not in_background(self._run):
            self._running.release()
            raise EtcdLeaderError("EL_INTERNAL", "the system gives no thread to watch the term on")

    def _run(self) -> None:
        try:
            self._watch()
        finally:
            self._running.release()

    def _watch(self) -> None:
        try:
            why = self._wait_for_end()
        except EtcdLeaderError as error:
            why = error
        self._lost._set(why)
        if not isinstance(why, StoppedError):
            # One term is all there is.
            self._handle.stop()
        elif not self._is_work_over.wait(self._handle.stop_timeout):
            self._is_late = True
            with contextlib.suppress(EtcdLeaderError):
                self._handle.collect()

    def _wait_for_end(self) -> EtcdLeaderError:
        while True:
            loss = self._handle.inbox.loss()
            if loss is not None or self._handle.has_ended:
                return reason_of(loss) if loss is not None else _ended()
            self._handle.wait()
            self._handle.collect()

    def end(self) -> bool:
        """The work is over. Whether that is too late."""
        self._is_work_over.set()
        self._handle.stop()
        try:
            self._join()
        except BaseException:
            self._handle.abandon(first=self._join)
            raise
        return self._is_late

    def _join(self) -> None:
        """It ends at once. The patience is for one that an exception has kept from beginning."""
        if self._running.acquire(timeout=self._handle.stop_timeout + 1):
            self._running.release()


class _AsyncLead(_Lead):
    _lost: Optional[AsyncLoss] = None
    _timer: Optional[asyncio.TimerHandle] = None
    _has_cancelled = False
    _cancelling = 0

    async def enter(self) -> AsyncTerm:
        try:
            await self._run.wait_until_async(self._is_decided)
            if self._token is not None:
                return self._begin(self._token)
        except BaseException:
            await self._end()
            raise
        await self._end()
        raise self._verdict() or AssertionError("no verdict")

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
            self._handle.collect()
            while self._loss is None:
                event = self._run.next()
                if event is None:
                    return self._is_over(_ended()) if self._handle.has_ended else None
                self._hear(event)
            self._is_over(reason_of(self._loss))
        except EtcdLeaderError as error:
            self._is_over(error)

    def _is_over(self, why: EtcdLeaderError) -> None:
        forget(self._loop, self._handle)
        assert self._lost is not None
        self._lost._set(why)
        if isinstance(why, StoppedError):
            self._timer = self._loop.call_later(self._handle.stop_timeout, self._on_late)
        else:
            # One term is all there is.
            self._handle.stop()
        self._has_cancelled = True
        self._task.cancel()

    def _on_late(self) -> None:
        self._is_late = True
        with contextlib.suppress(EtcdLeaderError):
            self._handle.collect()

    async def leave(self, error: Optional[BaseException]) -> None:
        if self._handle.is_inherited:
            return
        if isinstance(error, GeneratorExit):
            return self._drop()
        is_ours = self._take_back_cancelling() and isinstance(error, asyncio.CancelledError)
        await self._end()
        if error is None:
            self._raise_verdict()
        elif is_ours:
            raise self._verdict() or self._why() from error

    def _take_back_cancelling(self) -> bool:
        """As asyncio.timeout() does: whether nobody but us has cancelled the task."""
        if not self._has_cancelled:
            return False
        if sys.version_info >= (3, 11):
            return self._task.uncancel() <= self._cancelling
        return True

    def _why(self) -> EtcdLeaderError:
        return reason_of(self._loss) if self._loss is not None else _ended()

    def _drop(self) -> None:
        """The task was dropped, or its loop closed: nothing can be awaited."""
        self._listen_no_more()
        self._handle.abandon()
        self._claim.release()

    async def _end(self) -> None:
        try:
            self._listen_no_more()
            await self._run.leave_async(self._hear)
        finally:
            self._claim.release()

    def _listen_no_more(self) -> None:
        if self._lost is not None:
            forget(self._loop, self._handle)
        if self._timer is not None:
            self._timer.cancel()
