"""Leader election on etcd: many processes campaign for a key, one of them leads. A Rust core runs the election; this is its
Python face, over ctypes and the standard library alone.

    from etcd_leader import Election

    with Election("http://127.0.0.1:2379", "/jobs/nightly", "host-1").lead() as term:
        ...  # Only one of all hosts is in here at a time.

`Election` is the manual.
"""

from ._election import Election
from ._errors import (
    CODES,
    BusyError,
    EtcdLeaderError,
    ForkedError,
    InvalidError,
    InvalidTypeError,
    LibraryError,
    LostError,
    OverrunError,
    StoppedError,
)
from ._events import Elected, Ended, Event, Leader, Recovered, Retrying, Unelected
from ._lead import Lead
from ._library import load as load_library
from ._settings import Effective
from ._term import AsyncLoss, AsyncTerm, Loss, Term

__version__ = "1.0.0"

__all__ = [
    "CODES",
    "AsyncLoss",
    "AsyncTerm",
    "BusyError",
    "Effective",
    "Elected",
    "Election",
    "Ended",
    "EtcdLeaderError",
    "Event",
    "ForkedError",
    "InvalidError",
    "InvalidTypeError",
    "Lead",
    "Leader",
    "LibraryError",
    "Loss",
    "LostError",
    "OverrunError",
    "Recovered",
    "Retrying",
    "StoppedError",
    "Term",
    "Unelected",
    "load_library",
]
