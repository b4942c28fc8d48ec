"""Waiting for what comes, on a busy machine."""

import time
from typing import Callable, Optional, TypeVar

#: In seconds, for anything.
PATIENCE = 60.0
#: "Promptly": hundreds of times what it takes, and far from any ttl here.
PROMPTLY = 1.0

T = TypeVar("T")


def wait_for(what: str, probe: Callable[[], Optional[T]], patience: float = PATIENCE) -> T:
    """What `probe` gives, when it gives something true."""
    give_up = time.monotonic() + patience
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() >= give_up:
            raise AssertionError(f"waited {patience} s in vain for {what}")
        time.sleep(0.01)
