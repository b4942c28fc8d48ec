"""What was taken from the library and not told yet.

As in the library, it holds levels and not a log: of news that replaces other news only the last is kept, so that it stays
short however long nobody comes; `Elected` and `Unelected` alternate; and nobody is told `Elected` whose term is over.
"""

from __future__ import annotations

import threading
from typing import Callable, List, Optional

from ._events import Elected, Event, Failed, Leader, Recovered, Retrying, Unelected

_NOBODY = Leader(None, None)


class Inbox:
    """Filled by one thread at a time, and read by one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: List[Event] = []
        #: The token with which its reader believes to lead.
        self.told: Optional[int] = None
        #: How many terms have ended.
        self.ends = 0
        #: Nothing follows.
        self.has_failed = False
        self._told_leader = _NOBODY
        self._has_told_trouble = False

    def add(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Leader):
                self._waiting = [one for one in self._waiting if not isinstance(one, Leader)]
            elif isinstance(event, (Retrying, Recovered)):
                self._waiting = [one for one in self._waiting if not isinstance(one, (Retrying, Recovered))]
            self._waiting.append(event)
            self.ends += isinstance(event, Unelected)
            self.has_failed = isinstance(event, Failed)

    def loss(self) -> Optional[Unelected]:
        """The end of the term in which the reader believes to be, if it is waiting here."""
        with self._lock:
            return next((event for event in self._waiting if isinstance(event, Unelected)), None)

    def clear(self) -> None:
        with self._lock:
            self._waiting = []
            self.told = None

    def take(self, look_again: Callable[[Elected], None]) -> Optional[Event]:
        """The next event to tell; it counts as told. `look_again` adds what has come since a term began.

        A signal handler may raise at any point: what is told is noted before the event is gone.
        """
        while True:
            event = self._first()
            if event is None:
                return None
            if isinstance(event, Elected):
                look_again(event)
            loss = self.loss() if isinstance(event, Elected) else None
            # A term that came and went unseen is not told.
            is_news = loss is None and self._note(event)
            with self._lock:
                self._waiting = [one for one in self._waiting if one is not event and one is not loss]
            if is_news:
                return event

    def _first(self) -> Optional[Event]:
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def _note(self, event: Event) -> bool:
        """Whether it is news."""
        if isinstance(event, Elected):
            self.told = event.token
        elif isinstance(event, Unelected):
            self.told = None
        elif isinstance(event, Leader):
            is_known, self._told_leader = event == self._told_leader, event
            return not is_known
        elif isinstance(event, (Retrying, Recovered)):
            was_in_trouble, self._has_told_trouble = self._has_told_trouble, isinstance(event, Retrying)
            return was_in_trouble or self._has_told_trouble
        return True
