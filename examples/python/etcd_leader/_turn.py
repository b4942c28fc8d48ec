"""Whose turn it is: one thread or task at a time takes events from an election."""

from __future__ import annotations

import threading
import weakref
from typing import Optional

from ._errors import BusyError


class Claim:
    """Held until `is_over`. Giving it back is a store and no call: a signal handler does not raise between that and a return."""

    def __init__(self) -> None:
        self.is_over = False
        self.thread = threading.get_ident()


class Turn:
    """A signal handler may raise before the holder has given the turn back. Then his claim is gone, and the turn is free."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._claim: "Optional[weakref.ref[Claim]]" = None
        self._is_last = False

    def take(self) -> Optional[Claim]:
        """Takes it; `BusyError` if somebody has it. `None`: somebody leaves the election and has taken the last turn, so that for
        all others it has ended."""
        claim = self._try()
        if claim is None and not self._is_last:
            raise busy()
        return claim

    def take_last(self) -> Optional[Claim]:
        """The same for the one who leaves. `None`: somebody has it, and nobody else takes it after him."""
        self._is_last = True
        return self._try()

    def give_last_up(self) -> None:
        """The one who was to leave does not: whoever has the turn goes on."""
        self._is_last = False

    def check_foreign(self) -> None:
        """`BusyError` if this thread has it: it would wait for itself."""
        held = self._held()
        if held is not None and held.thread == threading.get_ident():
            raise busy()

    def _try(self) -> Optional[Claim]:
        claim = Claim()
        with self._guard:
            if self._held() is not None:
                return None
            self._claim = weakref.ref(claim)
        return claim

    def _held(self) -> Optional[Claim]:
        claim = self._claim() if self._claim is not None else None
        return claim if claim is not None and not claim.is_over else None


def busy() -> BusyError:
    return BusyError(
        "EL_BUSY", "the election is being polled: by another thread or task, by lead(), or this is its own callback; return first"
    )
