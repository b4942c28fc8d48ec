"""The end of the process, and its forks: whoever leaves gives its places up, and a child touches none of its parent's."""

from __future__ import annotations

import atexit
import contextlib
import os
import time
from typing import Protocol, Set

from ._errors import EtcdLeaderError

#: How long the end of the process waits for etcd; a place that is not given up by then runs out with its lease.
EXIT_PATIENCE_S = 1.0


class Leaving(Protocol):
    """What is to be ended before the process ends."""

    def stop(self) -> None: ...

    def leave(self, until: float) -> None:
        """Gives the place up, waiting until then (`time.monotonic`) at most."""


_here: Set[Leaving] = set()
_is_over = False


def enter(one: Leaving) -> None:
    _here.add(one)


def left(one: Leaving) -> None:
    _here.discard(one)


def is_over() -> bool:
    """Whether all was ended for the end of the process."""
    return _is_over


def _end() -> None:
    global _is_over
    _is_over = True
    all_of_them = list(_here)
    until = time.monotonic() + EXIT_PATIENCE_S
    for one in all_of_them:
        one.stop()
    for one in all_of_them:
        # What the library refuses now is of no use to anybody.
        with contextlib.suppress(EtcdLeaderError):
            one.leave(until)


atexit.register(_end)
os.register_at_fork(after_in_child=_here.clear)
