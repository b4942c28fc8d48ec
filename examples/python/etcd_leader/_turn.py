"""Whose turn it is: one thread or task at a time takes events from an election."""

from __future__ import annotations

import threading
import time
import weakref
from typing import Optional

from ._aside import SLICE_S
from ._errors import BusyError


class Turn:
    """It is had by whoever keeps the lock that `take` gave, until he releases that.

    Should a signal handler raise before he could do so, the lock is gone, and with it the claim: nobody waits for it.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._claim: "Optional[weakref.ref[threading.Lock]]" = None
        self._owner = 0
        self._is_last = False

    def take(self) -> "Optional[threading.Lock]":
        """Takes it, for the lock that is to be released afterwards; `BusyError` if somebody has it. `None`: whoever leaves
        the election has taken the last one, so that for all others it has ended."""
        claim = self._try()
        if claim is None and not self._is_last:
            raise _busy()
        return claim

    def take_last(self, timeout: float) -> "threading.Lock":
        """Takes it when it is released, if that is within `timeout` seconds."""
        self._is_last = True
        until = time.monotonic() + timeout
        while True:
            claim = self._try()
            if claim is not None:
                return claim
            if time.monotonic() >= until:
                raise _busy()
            held = self._held()
            if held is not None and held.acquire(timeout=min(SLICE_S, max(0.0, until - time.monotonic()))):
                held.release()

    def check_foreign(self) -> None:
        """`BusyError` if this thread has it: it would wait for itself."""
        if self._held() is not None and self._owner == threading.get_ident():
            raise _busy()

    def _try(self) -> "Optional[threading.Lock]":
        claim = threading.Lock()
        claim.acquire()
        with self._guard:
            if self._held() is not None:
                return None
            self._claim, self._owner = weakref.ref(claim), threading.get_ident()
        return claim

    def _held(self) -> "Optional[threading.Lock]":
        claim = self._claim() if self._claim is not None else None
        return claim if claim is not None and claim.locked() else None


def _busy() -> BusyError:
    return BusyError(
        "EL_BUSY", "the election is being polled: by another thread or task, by lead(), or this is its own callback; return first"
    )
