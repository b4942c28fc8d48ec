"""What happens to a candidate, as it is told: by `poll` to the callback, and by iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union


@dataclass(frozen=True)
class Elected:
    """We lead. Not told to one who does not lead at that moment."""

    #: Larger than that of every leader before: send it along with each write, and let the receiver refuse one that is
    #: smaller than the largest it has seen.
    token: int


@dataclass(frozen=True)
class Unelected:
    """We do not lead any more.

    The code is `EL_STOPPED` after a `stop()`: the place is still ours, and is given up when you come back for the next
    event. Any other code: it was lost already, and another may lead soon.
    """

    code: str
    message: str


@dataclass(frozen=True)
class Leader:
    """Another leader is known, or (both `None`) nobody is known to lead. While we lead it is ourselves."""

    name: Optional[str]
    token: Optional[int]


@dataclass(frozen=True)
class Retrying:
    """Something is wrong and is being retried. Told after the first failure, then at most once per ttl;
    a store reset at once."""

    code: str
    message: str
    #: The endpoint that is concerned, if one is.
    endpoint: Optional[str] = None


@dataclass(frozen=True)
class Recovered:
    """What `Retrying` told is over."""


@dataclass(frozen=True)
class Ended:
    """The last event. The code and the message say how the last term ended, or why the election cannot go on.

    `EL_OK`: the place was held until the leading work had ended, so that nobody else led before. `EL_STOPPED`: it was stopped
    before it ever led. `EL_OVERRUN`: `stop_timeout_ms` passed after a stop before that was told, or, in `lead()`, before the
    work had ended. `EL_DEADLINE`, `EL_KEY_LOST`,
    `EL_LEASE_LOST`, `EL_STORE_RESET`: the lead was lost before the work had ended. Any other: the election cannot go on.
    """

    code: str
    message: str
    #: Our entry is known to be gone. Otherwise it runs out with its lease, or the library deletes it as soon as it can.
    released: bool


Event = Union[Elected, Unelected, Leader, Retrying, Recovered, Ended]
