"""What can go wrong: the codes, and the exceptions that carry them."""

from __future__ import annotations

from typing import Dict, Type

#: The codes of errors and events, the same in every language, and what each means. The message beside a code is for
#: people and says what to do.
CODES: Dict[str, str] = {
    "EL_OK": "all is well",
    "EL_INVALID": "an argument cannot be used; the message names it, its value and the remedy",
    "EL_BUSY": "the call cannot be served now: this election is being polled, or lead() is under way",
    "EL_STOPPED": "the election has ended, or was asked to end",
    "EL_FORKED": "the election was started before a fork, and this is the child; start a new one",
    "EL_UNREACHABLE": "the etcd member could not be reached: connection refused or reset, no such host",
    "EL_TIMEOUT": "no answer came in the time that the election's deadlines leave for one",
    "EL_NO_QUORUM": "the etcd member answers, but its cluster has no leader just now",
    "EL_SERVER": 'etcd refused or failed a request for a reason of its own, such as "too many requests"',
    "EL_NO_SPACE": "etcd is out of space (the NOSPACE alarm)",
    "EL_PROTOCOL": "the answer was not one that etcd gives: something else listens there, or stands between",
    "EL_DENIED": "etcd does not let us use this key; the message has the role that it takes",
    "EL_UNSUPPORTED": "the server does not know this API",
    "EL_CLUSTER_MISMATCH": "the endpoints belong to more than one etcd cluster",
    "EL_DEADLINE": "a renewal was not confirmed in time, so leading had to end",
    "EL_KEY_LOST": "our key was deleted or overwritten by somebody else",
    "EL_LEASE_LOST": "our lease is gone: it expired or was revoked",
    "EL_STORE_RESET": "the store went back in time: it was wiped, or restored from a backup",
    "EL_NESTED": "a member of this election has a / in its own part of the key; elections may be nested by mistake",
    "EL_INTERNAL": "a fault in the library (please report it), or the system gave no thread or descriptor",
    "EL_NOT_A_DIRECTORY": "on API v2 the election's key holds a value, so that no members can live under it",
    "EL_UNTRUSTED": "the member's certificate is not trusted, or it does not trust ours; the message says which and why",
    "EL_CLOCK_SKEW": "the clocks of etcd's members differ so much that entries of API v2 expire early; set the clocks",
    "EL_OVERRUN": "stop_timeout_ms passed after a stop before the leading work had ended: the place was given up meanwhile",
}


class EtcdLeaderError(Exception):
    """What etcd, the network or the library says. `code` is one of `CODES`, `message` is one line for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class InvalidError(EtcdLeaderError, ValueError):
    """`EL_INVALID`: an argument cannot be used; the message names it, its value and the remedy."""


class InvalidTypeError(InvalidError, TypeError):
    """The same, for a value of a type that is never right there."""


class BusyError(EtcdLeaderError, RuntimeError):
    """`EL_BUSY`: another thread or task polls this election, its callback is running, or `lead()` is under way."""


class StoppedError(EtcdLeaderError):
    """`EL_STOPPED`: the election was stopped before we led, or was never started."""


class ForkedError(EtcdLeaderError, RuntimeError):
    """`EL_FORKED`: the election was started before a fork, and this is the child; `start()` begins a new one."""


class OverrunError(StoppedError):
    """`EL_OVERRUN`, from `lead()`: the election was stopped, and the work ended later than `stop_timeout_ms` after that. The
    place was given up meanwhile, so another may lead since."""


class LostError(EtcdLeaderError):
    """From `lead()`: the lead was lost before the work had ended. `code` and `message` say why; another may lead since."""


class LibraryError(EtcdLeaderError, ImportError):
    """libetcd_leader is not to be found, or is not one that this package can use. Its code is `EL_INVALID`."""


_CLASSES: Dict[str, Type[EtcdLeaderError]] = {
    "EL_INVALID": InvalidError,
    "EL_BUSY": BusyError,
    "EL_STOPPED": StoppedError,
    "EL_FORKED": ForkedError,
    "EL_OVERRUN": OverrunError,
}


def error_of(code: str, message: str) -> EtcdLeaderError:
    """The exception for a code."""
    return _CLASSES.get(code, EtcdLeaderError)(code, message)


def forked() -> ForkedError:
    return ForkedError("EL_FORKED", "this election runs in the parent process; start a new one in the child")
