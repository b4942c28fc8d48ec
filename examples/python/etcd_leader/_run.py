"""One run of an election, from a start to its end: events are taken in order, and each is told."""

from __future__ import annotations

import asyncio
import time
from typing import Callable, Optional

from ._events import Elected, Ended, Event, Unelected
from ._handle import Handle
from ._readable import readable
from ._settings import OnEvent, Settings
from ._turn import Turn, busy

#: How long one sleeps between two looks at whose turn it is.
_GLANCE_S = 0.005

Hear = Callable[[Event], None]


class Run:
    """`look`, `took`, `listen` and `leave` are for the one whose turn it is."""

    def __init__(self, settings: Settings, on_event: Optional[OnEvent]) -> None:
        self.handle = Handle(settings)
        self.turn = Turn()
        #: With which the user leads, as far as was told.
        self.token: Optional[int] = None
        self._told: Optional[Event] = None
        #: The event that the callback has heard last.
        self._heard: Optional[Event] = None
        self._on_event = on_event
        self._mishap: Optional[Exception] = None

    def __del__(self) -> None:
        """Whoever lost it, by an exception at an odd moment or without closing it: the place is given up."""
        handle = getattr(self, "handle", None)
        if handle is not None and not handle.is_freed:
            handle.abandon()

    def look(self, holds: bool = False) -> Optional[Event]:
        """The next event, if there is one; the callback has heard it. It is the same until it `took` it.

        To come here after the end of a term was told says that the work has ended. If it `holds`, that is waited for.
        """
        # With an event that was not taken yet, the callback may have begun the next work.
        if isinstance(self._told, Unelected) and not self.handle.is_holding:
            self.handle.release()
        event = self.handle.peek()
        if holds and isinstance(event, Unelected):
            self.handle.hold()
        if event is not None and event is not self._heard:
            self._heard = event
            self.tell(event)
        return event

    def took(self, event: Event) -> None:
        """It is told. From the drop on there are only stores: a signal handler raises after none of them."""
        is_of_term = isinstance(event, (Elected, Unelected, Ended))
        token = event.token if isinstance(event, Elected) else None if is_of_term else self.token
        self.handle.drop()
        self._told, self.token = event, token

    def tell(self, event: Event) -> None:
        """Tells the callback. Its exceptions are kept: the last one is raised, and shows those before it."""
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as mishap:
            if self._mishap is not None and self._mishap.__context__ is None and mishap.__context__ is None:
                mishap.__context__ = self._mishap if mishap is not self._mishap else None
            self._mishap = mishap

    def raise_mishap(self) -> None:
        """Raises what the callback has raised."""
        mishap, self._mishap = self._mishap, None
        if mishap is not None:
            raise mishap

    def listen(self, hear: Hear = lambda event: None) -> bool:
        """Tells the events that are due, also to `hear`. True: nothing can follow."""
        while True:
            event = self.look()
            if event is None:
                return self.handle.has_ended
            self.took(event)
            hear(event)

    # What is refused if another has the turn.

    def poll(self, until: Optional[float]) -> bool:
        """Tells the events that are due, and waits for one. False: the election has ended, and all was told."""
        claim = self.turn.take()
        if claim is None:
            return False
        try:
            return self._poll(until)
        finally:
            claim.is_over = True

    def _poll(self, until: Optional[float]) -> bool:
        has_told = False
        while True:
            event = self.look(holds=True)
            if event is not None:
                has_told = True
                self.took(event)
            # After the end of a term by a stop it is for the user to come back.
            if event is None or isinstance(event, Ended) or (isinstance(event, Unelected) and event.code == "EL_STOPPED"):
                self.raise_mishap()
                if has_told or self.handle.has_ended:
                    return not self.handle.has_ended
                if not self.handle.wait(until):
                    return True

    def wait_next(self) -> Optional[Event]:
        """The next event. `None`: there is none any more."""
        claim = self.turn.take()
        if claim is None:
            return None
        try:
            event = self.look(holds=True)
            while event is None and not self.handle.has_ended:
                self.handle.wait()
                event = self.look(holds=True)
            return self._give(event)
        finally:
            claim.is_over = True

    async def wait_next_async(self) -> Optional[Event]:
        """The same in an event loop."""
        claim = self.turn.take()
        if claim is None:
            return None
        try:
            event = self.look(holds=True)
            while event is None and not self.handle.has_ended:
                await readable(self.handle)
                event = self.look(holds=True)
            return self._give(event)
        finally:
            claim.is_over = True

    def _give(self, event: Optional[Event]) -> Optional[Event]:
        if event is not None:
            self.took(event)
            if self._mishap is not None:
                self.raise_mishap()
        return event

    # The end.

    def leave(self, hear: Hear = lambda event: None, is_told: bool = True) -> None:
        """The work has ended: stops, tells the rest, and frees. Interrupted, it does this without waiting."""
        try:
            self._let_go()
            while not (self.listen(hear) if is_told else self._skip()):
                self.handle.wait()
            self.handle.free()
        except BaseException:
            self.handle.abandon()
            raise
        self.raise_mishap()

    async def leave_async(self, hear: Hear = lambda event: None) -> None:
        """The same in an event loop."""
        try:
            self._let_go()
            while not self.listen(hear):
                await readable(self.handle)
            self.handle.free()
        except BaseException:
            self.handle.abandon()
            raise
        self.raise_mishap()

    def _let_go(self) -> None:
        self.handle.stop()
        self.handle.release()

    def _skip(self) -> bool:
        while self.handle.peek() is not None:
            self.handle.drop()
        return self.handle.has_ended

    def end(self, is_told: bool = True) -> None:
        """Waits for the one who polls, and leaves."""
        self.turn.check_foreign()
        self.handle.stop()
        until, claim = self._patience(), self.turn.take_last()
        while claim is None:
            self._check(until)
            time.sleep(_GLANCE_S)
            claim = self.turn.take_last()
        try:
            self.leave(is_told=is_told)
        finally:
            claim.is_over = True

    async def end_async(self) -> None:
        """The same in an event loop."""
        self.handle.stop()
        until, claim = self._patience(), self.turn.take_last()
        while claim is None:
            self._check(until)
            await asyncio.sleep(_GLANCE_S)
            claim = self.turn.take_last()
        try:
            await self.leave_async()
        finally:
            claim.is_over = True

    def _patience(self) -> float:
        """Until when the one who polls is waited for: it is told, and then etcd is waited for."""
        return time.monotonic() + 2 * self.handle.stop_timeout + 1

    def _check(self, until: float) -> None:
        if time.monotonic() >= until:
            self.turn.give_last_up()
            raise busy()
