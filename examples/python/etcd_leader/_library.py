"""libetcd_leader: finding it, and making sure that it is the one that this package was written for."""

from __future__ import annotations

import ctypes
import os
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Dict, Iterator, Optional, Tuple, Union

from ._errors import LibraryError
from ._events import Elected, Ended, Event, Leader, Recovered, Retrying, Unelected

#: The interface that include/etcd_leader.h describes. A library with a larger number has all of it, too.
ABI_VERSION = 1
SONAME = "libetcd_leader.so.1"
VARIABLE = "ETCD_LEADER_LIBRARY"
BUILT = "target/release/libetcd_leader.so"

# As in the header.
EL_OK = 0
EL_EVENT_ELECTED, EL_EVENT_UNELECTED, EL_EVENT_LEADER, EL_EVENT_RETRYING, EL_EVENT_ENDED = 1, 2, 3, 4, 5
EL_API = {"v2": 2, "v3": 3}
EL_ON_STORE_RESET = {"continue": 1, "stop": 2}

StrPath = Union[str, "os.PathLike[str]"]


class ElEvent(ctypes.Structure):
    """`el_event`."""

    _fields_ = [
        ("size", c_uint32),
        ("type", c_int32),
        ("status", c_int32),
        ("released", c_uint32),
        ("token", c_uint64),
        ("election", c_void_p),
        ("name", c_char_p),
        ("endpoint", c_char_p),
        ("message", c_char_p),
    ]


class ElConfig(ctypes.Structure):
    """`el_config`. Zero stands for the default in every field that has one."""

    _fields_ = [
        ("endpoints", POINTER(c_char_p)),
        ("key", c_char_p),
        ("name", c_char_p),
        ("on_event", CFUNCTYPE(None, POINTER(ElEvent), c_void_p)),
        ("user_data", c_void_p),
        ("endpoint_count", c_uint32),
        ("api", c_int32),
        ("ttl_s", c_uint32),
        ("renew_ms", c_uint32),
        ("step_down_ms", c_uint32),
        ("request_timeout_ms", c_uint32),
        ("stop_timeout_ms", c_uint32),
        ("on_store_reset", c_int32),
        ("username", c_char_p),
        ("password", c_char_p),
        ("ca_file", c_char_p),
        ("ca_pem", c_char_p),
        ("cert_file", c_char_p),
        ("cert_pem", c_char_p),
        ("key_file", c_char_p),
        ("key_pem", c_char_p),
        ("tls_server_name", c_char_p),
        ("queue", c_void_p),
    ]


class ElEffective(ctypes.Structure):
    """`el_effective`."""

    _fields_ = [
        ("ttl_ms", c_uint32),
        ("granted_ttl_ms", c_uint32),
        ("renew_ms", c_uint32),
        ("step_down_ms", c_uint32),
        ("request_timeout_ms", c_uint32),
        ("stop_timeout_ms", c_uint32),
    ]


#: What the header's structures measure where a pointer has 8 bytes: (size, the offset of the last field).
_LAYOUT = {
    ElEvent: (56, ElEvent.message.offset, 48),
    ElConfig: (152, ElConfig.queue.offset, 144),
    ElEffective: (24, ElEffective.stop_timeout_ms.offset, 20),
}

#: Each function's result and arguments.
_FUNCTIONS: Dict[str, Tuple[object, Tuple[object, ...]]] = {
    "el_start": (c_int32, (POINTER(ElConfig), c_size_t, POINTER(c_void_p))),
    "el_stop": (None, (c_void_p,)),
    "el_hold": (None, (c_void_p,)),
    "el_release": (None, (c_void_p,)),
    "el_free": (c_int32, (c_void_p,)),
    "el_queue_new": (c_int32, (POINTER(c_void_p),)),
    "el_queue_next": (c_int32, (c_void_p, c_int32, POINTER(ElEvent), c_size_t)),
    "el_queue_fd": (c_int32, (c_void_p,)),
    "el_queue_free": (c_int32, (c_void_p,)),
    "el_token": (c_uint64, (c_void_p,)),
    "el_time_left_ms": (c_int64, (c_void_p,)),
    "el_leader": (c_int32, (c_void_p, c_char_p, c_size_t, POINTER(c_uint64))),
    "el_settings": (c_int32, (c_void_p, POINTER(ElEffective), c_size_t)),
    "el_status_name": (c_char_p, (c_int32,)),
    "el_last_error": (c_char_p, ()),
    "el_version": (c_char_p, ()),
    "el_abi_version": (c_int32, ()),
}


class Library:
    """One loaded libetcd_leader. Every call lets other Python threads run meanwhile."""

    def __init__(self, where: str) -> None:
        try:
            # Never PyDLL: other threads would stand still, and so would whoever is to be told.
            dll = ctypes.CDLL(where)
        except OSError as error:
            raise _unusable(where, f"cannot be loaded: {error}") from None
        self.path = where
        for name, (result, arguments) in _FUNCTIONS.items():
            try:
                function = getattr(dll, name)
            except AttributeError:
                raise _unusable(where, f"is not libetcd_leader, or one of another age: it has no {name}") from None
            function.restype, function.argtypes = result, arguments
        self.dll = dll
        found = dll.el_abi_version()
        if found < ABI_VERSION:
            raise _unusable(where, f"has the interface {found}, and this package needs {ABI_VERSION} or later")
        _check_layout()

    @property
    def version(self) -> str:
        """Such as "1.0.0"."""
        return _text(self.dll.el_version())

    def code(self, status: int) -> str:
        """The name of a status, as in the header."""
        return _text(self.dll.el_status_name(status))

    def last_error(self) -> str:
        """Why the last call that failed on this thread failed."""
        return _text(self.dll.el_last_error())

    def read(self, event: ElEvent) -> Optional[Event]:
        """Copies an event, whose texts go with the next one. `None`: one of a later version."""
        if event.size < ctypes.sizeof(ElEvent):
            raise _unusable(self.path, f"has events of {event.size} bytes, and this package needs {ctypes.sizeof(ElEvent)}")
        code, message = self.code(event.status), _text(event.message)
        if event.type == EL_EVENT_ELECTED:
            return Elected(event.token)
        if event.type == EL_EVENT_UNELECTED:
            return Unelected(code, message)
        if event.type == EL_EVENT_LEADER:
            return Leader(_text(event.name), event.token) if event.token else Leader(None, None)
        if event.type == EL_EVENT_RETRYING:
            return Retrying(code, message, _text(event.endpoint) or None) if event.status != EL_OK else Recovered()
        if event.type == EL_EVENT_ENDED:
            return Ended(code, message, bool(event.released))
        return None


def _text(given: Optional[bytes]) -> str:
    return (given or b"").decode("utf-8", "replace")


def _unusable(where: str, why: str) -> LibraryError:
    if where == SONAME and not os.path.exists(os.path.dirname(__file__)):
        # A zipapp: the package lies in a file, from which no system loads a library.
        raise LibraryError(
            "EL_INVALID",
            f"etcd_leader runs from an archive, in which no library can be loaded; unpack {SONAME} beside it, and name it as "
            f"library= or in {VARIABLE}",
        )
    remedy = f"build it with `make lib`, and give its path as library= or in {VARIABLE}"
    return LibraryError("EL_INVALID", f"{where} {why}; {remedy}")


def _check_layout() -> None:
    """Whether this Python lays the structures out as the library does."""
    if ctypes.sizeof(c_void_p) != 8:
        return
    for structure, (size, last, expected) in _LAYOUT.items():
        if (ctypes.sizeof(structure), last) != (size, expected):
            raise LibraryError(
                "EL_INVALID",
                f"{structure.__doc__} has {ctypes.sizeof(structure)} bytes in this Python and {size} in the library; "
                "please report it",
            )


def _candidates() -> Iterator[str]:
    """Where it may be, if nobody says."""
    for name in (SONAME, "libetcd_leader.so"):
        beside = Path(__file__).with_name(name)
        if beside.exists():
            yield str(beside)
    # In the repository `make lib` has built it, and the examples need no variable.
    for top in list(Path(__file__).resolve().parents)[3:4]:
        if (top / "ffi" / "Cargo.toml").exists() and (top / BUILT).exists():
            yield str(top / BUILT)
    yield SONAME


_loaded: Dict[str, Library] = {}


def load(given: Optional[StrPath] = None) -> Library:
    """The library at `given`; else the one that `ETCD_LEADER_LIBRARY` names; else the one in this package's folder; else,
    if the package lies in the repository, the one that `make lib` has built there; else the one that the system's loader
    finds by its SONAME. Where one is named, no other is taken."""
    named = os.fspath(given) if given is not None else os.environ.get(VARIABLE)
    # A bare name would be looked for by the system's loader, and not here.
    where = os.path.abspath(named) if named else next(_candidates())
    if named and not os.path.exists(named):
        said = "library" if given is not None else VARIABLE
        raise LibraryError("EL_INVALID", f"{said} is {named!r}, and there is no such file; give the path of {SONAME}")
    library = _loaded.get(where)
    if library is None:
        library = _loaded[where] = Library(where)
    return library
