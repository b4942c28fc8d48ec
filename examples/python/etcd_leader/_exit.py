"""The end of the process, and its forks: whoever leaves gives its places up, and a child touches none of its parent's."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
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
#: The process whose end is watched for.
_watched_in = 0


def enter(one: Leaving) -> None:
    _watch_for_the_end()
    _here.add(one)


def _watch_for_the_end() -> None:
    """Once in each process. A child of multiprocessing leaves by `os._exit` after its own finalizers, and from Python 3.13 on
    it forgets what its parent has registered with atexit."""
    global _watched_in
    if _watched_in == os.getpid():
        return
    _watched_in = os.getpid()
    atexit.unregister(_end)
    atexit.register(_end)
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, _end, exitpriority=100)


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


os.register_at_fork(after_in_child=_here.clear)
