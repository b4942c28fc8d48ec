"""Waiting for what comes, on a busy machine."""

import time
from typing import Callable, Optional, TypeVar

#: In seconds, for anything.
PATIENCE = 60.0
#: "Promptly": a thousand times what it takes, since machines are busy; where a ttl would end it too, that is longer.
PROMPTLY = 4.0

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
