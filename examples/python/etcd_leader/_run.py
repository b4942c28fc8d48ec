"""One run of an election, from a start to its end: events are taken in order, and each is told."""

from __future__ import annotations

from typing import Callable, List, Optional

from ._aside import aside_of_loop
from ._events import Event, Unelected
from ._handle import Handle
from ._readable import readable
from ._settings import OnEvent, Settings
from ._turn import Turn


class Run:
    """`next`, `wait_until`, `tell_rest` and `leave` are for the one whose turn it is."""

    def __init__(self, settings: Settings, on_event: Optional[OnEvent]) -> None:
        self.handle = Handle(settings)
        self.turn = Turn()
        #: The only term there is to be, in lead().
        self.term: Optional[int] = None
        self._is_losing = False
        self._is_stop_asked = False
        self._on_event = on_event
        self._mishap: Optional[Exception] = None

    def __del__(self) -> None:
        """Whoever lost it, by an exception at an odd moment or without closing it: the place is given up."""
        handle = getattr(self, "handle", None)
        if handle is not None and not handle.is_freed:
            handle.abandon()

    def stop(self) -> None:
        """What the user asks for: from now on only the end of a term is told."""
        self._is_stop_asked = True
        self.handle.stop()

    def next(self) -> Optional[Event]:
        """The next event of those that were collected, told to the callback. What that raises is kept."""
        self._is_losing = False
        event = self.handle.inbox.take(self.handle.look_again)
        while self._is_stop_asked and event is not None and not isinstance(event, Unelected):
            event = self.handle.inbox.take(self.handle.look_again)
        self._is_losing = isinstance(event, Unelected)
        if event is not None and self._on_event is not None:
            try:
                self._on_event(event)
            except Exception as mishap:
                self._keep(mishap)
        return event

    def sees(self, token: int) -> bool:
        """Whether we lead as far as the user may see. Who is just being told that a term is over, or has work to do in one
        term only, is not to see the next one."""
        return token != 0 and not self._is_losing and self.term in (None, token)

    def _keep(self, mishap: Exception) -> None:
        """Of several the last is raised, and shows those before it."""
        if self._mishap is not None and self._mishap.__context__ is None and mishap.__context__ is None:
            mishap.__context__ = self._mishap if mishap is not self._mishap else None
        self._mishap = mishap

    def raise_mishap(self) -> None:
        """Raises what the callback has raised."""
        mishap, self._mishap = self._mishap, None
        if mishap is not None:
            raise mishap

    # What is refused if another has the turn.

    def poll(self, until: Optional[float]) -> bool:
        """Tells what is due, and waits for it. False: the election has ended, and all was told."""
        claim = self.turn.take()
        if claim is None:
            return False
        try:
            return self._poll(until)
        finally:
            claim.release()

    def wait_next(self) -> Optional[Event]:
        """The next event. `None`: there is none any more."""
        claim = self.turn.take()
        if claim is None:
            return None
        try:
            found: List[Event] = []
            self.wait_until(lambda: self._find(found))
            return found[0] if found else None
        finally:
            claim.release()

    async def wait_next_async(self) -> Optional[Event]:
        """The same in an event loop."""
        claim = self.turn.take()
        if claim is None:
            return None
        try:
            found: List[Event] = []
            await self.wait_until_async(lambda: self._find(found))
            return found[0] if found else None
        finally:
            claim.release()

    def _find(self, found: List[Event]) -> bool:
        event = self.next()
        self.raise_mishap()
        if event is not None:
            found.append(event)
        return event is not None or self.handle.has_ended

    # What is for the one whose turn it is.

    def _poll(self, until: Optional[float]) -> bool:
        while True:
            self.handle.collect_if_due()
            told: List[Event] = []
            has_ended = self.tell_rest(told.append)
            self.raise_mishap()
            if told or has_ended:
                return bool(told)
            if not self.handle.wait(until):
                return True

    def wait_until(self, is_done: Callable[[], bool]) -> None:
        """Collects until `is_done`, which is to tell what was collected."""
        while not is_done():
            self.handle.wait()
            self.handle.collect()

    async def wait_until_async(self, is_done: Callable[[], bool]) -> None:
        """The same in an event loop."""
        while not is_done():
            await readable(self.handle)
            self.handle.collect()

    def tell_rest(self, hear: Callable[[Event], None] = lambda event: None) -> bool:
        """Tells what was collected, also to `hear`. Whether nothing can follow."""
        event = self.next()
        while event is not None:
            hear(event)
            event = self.next()
        return self.handle.has_ended

    def leave(self, hear: Callable[[Event], None] = lambda event: None) -> None:
        """Stops, tells what is left, and frees. Interrupted, it does the rest without waiting."""
        try:
            self.handle.stop()
            self.wait_until(lambda: self.tell_rest(hear))
            self.handle.free()
        except BaseException:
            self.handle.abandon()
            raise
        self.raise_mishap()

    async def leave_async(self, hear: Callable[[Event], None] = lambda event: None) -> None:
        """The same in an event loop."""
        try:
            self.handle.stop()
            await self.wait_until_async(lambda: self.tell_rest(hear))
            await aside_of_loop(self.handle.free)
        except BaseException:
            self.handle.abandon()
            raise
        self.raise_mishap()

    def _leave_silently(self) -> None:
        try:
            self.wait_until(lambda: self.handle.has_ended)
            self.handle.free()
        except BaseException:
            self.handle.abandon()
            raise
        finally:
            self.handle.inbox.clear()

    # The last turn.

    def end(self, is_told: bool = True) -> None:
        """Stops, waits for the one who polls, tells what is left if `is_told`, and frees."""
        self.turn.check_foreign()
        self.handle.stop()
        claim = self.turn.take_last(self._patience)
        try:
            self.leave() if is_told else self._leave_silently()
        finally:
            claim.release()

    async def end_async(self) -> None:
        """The same in an event loop."""
        self.handle.stop()
        claims = []
        await aside_of_loop(lambda: claims.append(self.turn.take_last(self._patience)))
        try:
            await self.leave_async()
        finally:
            claims[0].release()

    @property
    def _patience(self) -> float:
        """For how many seconds the one who polls is waited for: it is told, and then etcd is waited for."""
        return 2 * self.handle.stop_timeout + 1
