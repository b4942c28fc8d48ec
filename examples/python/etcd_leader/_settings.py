"""The arguments of an election, checked as far as C could not: types, texts that C would cut, numbers that it would wrap.

What is left (ranges, files, what fits together) is the library's business, in `el_start`: no rule is written twice.
"""

from __future__ import annotations

import inspect
import os
import re
from ctypes import c_char_p
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple, Union

from ._errors import InvalidError, InvalidTypeError
from ._events import Event
from ._library import EL_API, EL_ON_STORE_RESET, ElConfig, StrPath

OnEvent = Callable[[Event], object]
Pem = Union[str, bytes]

_MAX_U32 = 0xFFFFFFFF
_SHOWN = 80
#: What is quoted is the user's; the rest of a message of the library's may name fields by the names that C has for them.
_WORDS = re.compile(r'"(?:[^"\\]|\\.)*"|\bttl_s\b|\bendpoint_count is\b')
_NAMES = {"ttl_s": "ttl", "endpoint_count is": "the number of endpoints is"}


class Secret:
    """A text that shows itself to nobody who does not ask for it. Making one raises nothing, so that whoever was given the
    text can let go of it before anything is raised: a traceback may show the variables of its frames."""

    __slots__ = ("reveal", "wrong")

    def __init__(self, value: object, kind: Union[type, Tuple[type, ...]] = str) -> None:
        #: What is wrong with it, after its name; empty if nothing is.
        self.wrong, kept = _encode(value, kind)
        self.reveal: Callable[[], bytes] = lambda: kept

    def __repr__(self) -> str:
        return "<secret>"

    def __reduce__(self) -> Any:
        raise TypeError("a secret is not pickled")


class Effective(NamedTuple):
    """The arguments that took effect, with every default filled in."""

    #: The lease that was asked for, in seconds.
    ttl: float
    #: The lease that etcd has granted, in seconds: so long a crash keeps the next one waiting. `None` until etcd has said so.
    granted_ttl: Optional[float]
    renew_ms: int
    step_down_ms: int
    request_timeout_ms: int
    stop_timeout_ms: int


class Settings:
    """What an election is made with, as C takes it."""

    def __init__(
        self,
        endpoints: List[Secret],
        key: str,
        name: str,
        *,
        ttl: int,
        api: str,
        renew_ms: int,
        step_down_ms: int,
        request_timeout_ms: int,
        stop_timeout_ms: int,
        on_store_reset: str,
        username: Optional[str],
        password: Optional[Secret],
        ca_file: Optional[StrPath],
        ca_pem: Optional[Secret],
        cert_file: Optional[StrPath],
        cert_pem: Optional[Secret],
        key_file: Optional[StrPath],
        key_pem: Optional[Secret],
        tls_server_name: Optional[str],
        library: Optional[StrPath],
    ) -> None:
        self._endpoints = endpoints
        for at, place in enumerate(endpoints):
            _unless_wrong(f"endpoints[{at}]", place)
        self.key, self.name = key, name
        self.library = None if library is None else os.fsdecode(_path("library", library))
        self._texts = {"key": _text("key", key), "name": _text("name", name)}
        self._numbers = {
            "ttl_s": _number("ttl", ttl, "seconds"),
            "renew_ms": _number("renew_ms", renew_ms),
            "step_down_ms": _number("step_down_ms", step_down_ms),
            "request_timeout_ms": _number("request_timeout_ms", request_timeout_ms),
            "stop_timeout_ms": _number("stop_timeout_ms", stop_timeout_ms),
            "api": _choice("api", api, EL_API),
            "on_store_reset": _choice("on_store_reset", on_store_reset, EL_ON_STORE_RESET),
        }
        for field, text in {"username": username, "tls_server_name": tls_server_name}.items():
            if text is not None:
                self._texts[field] = _text(field, text)
        for field, file in {"ca_file": ca_file, "cert_file": cert_file, "key_file": key_file}.items():
            if file is not None:
                self._texts[field] = _path(field, file)
        secrets = {"password": password, "ca_pem": ca_pem, "cert_pem": cert_pem, "key_pem": key_pem}
        self._secrets = {field: given for field, given in secrets.items() if given is not None}
        for field, given in self._secrets.items():
            _unless_wrong(field, given)

    def config(self, queue: Optional[int]) -> ElConfig:
        """For `el_start`. It holds all that it points to, but for the queue."""
        config = ElConfig(queue=queue, **self._texts, **self._numbers)
        for field, given in self._secrets.items():
            setattr(config, field, given.reveal())
        count = len(self._endpoints)
        if count:
            config.endpoints = (c_char_p * count)(*(place.reveal() for place in self._endpoints))
            config.endpoint_count = count
        return config


def places(endpoints: object) -> List[Secret]:
    """The endpoints. None of them is shown: one may hold a password, which the library refuses."""
    if isinstance(endpoints, (str, bytes)) or not isinstance(endpoints, Iterable):
        endpoints = [endpoints]
    return [Secret(one) for one in endpoints]


def secret(value: Optional[Pem]) -> Optional[Secret]:
    return None if value is None else Secret(value, (str, bytes))


def _encode(value: object, kind: Union[type, Tuple[type, ...]]) -> Tuple[str, bytes]:
    """What is wrong with a text that is not to be shown, and the text."""
    if not isinstance(value, kind):
        return f"is of the type {type(value).__name__}; give a str", b""
    try:
        kept = value if isinstance(value, bytes) else str(value).encode()
    except UnicodeEncodeError as error:
        return f"cannot be written in UTF-8 from character {error.start} on; leave out what is no character", b""
    at = kept.find(b"\0")
    return (f"has a NUL byte at {at}; leave it out", b"") if at >= 0 else ("", kept)


def _unless_wrong(field: str, secret: Secret) -> bytes:
    if secret.wrong:
        kind = InvalidTypeError if secret.wrong.startswith("is of") else InvalidError
        raise kind("EL_INVALID", f"{field} {secret.wrong}")
    return secret.reveal()


def in_our_words(message: str) -> str:
    """A message of the library's, with the names that its fields have here."""
    return _WORDS.sub(lambda found: _NAMES.get(found[0], found[0]), message)


def seconds(field: str, value: Optional[float]) -> Optional[float]:
    """A timeout."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _type(field, value, "seconds, or None to wait for ever")
    if not value >= 0:
        raise _value(field, value, "seconds from 0, or None to wait for ever")
    return value


def _value(field: str, value: object, remedy: str) -> InvalidError:
    return InvalidError("EL_INVALID", f"{field} is {_shown(value)}; give {remedy}")


def _type(field: str, value: object, remedy: str) -> InvalidTypeError:
    return InvalidTypeError("EL_INVALID", f"{field} is {_shown(value)}; give {remedy}")


def _shown(value: object) -> str:
    if isinstance(value, (str, int, float)) or value is None:
        shown = repr(value)
        return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    return f"of the type {type(value).__name__}"


def _text(field: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise _type(field, value, "a str")
    at = value.find("\0")
    if at >= 0:
        raise InvalidError("EL_INVALID", f"{field} {_shown(value)} has a NUL character at {at}; leave it out")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        at = error.start
    raise InvalidError("EL_INVALID", f"{field} {_shown(value)} cannot be written in UTF-8 from character {at} on; leave out what is no character")


def _path(field: str, value: object) -> bytes:
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise _type(field, value, "the path of a file")
    path = os.fsencode(value)
    at = path.find(b"\0")
    if at >= 0:
        raise InvalidError("EL_INVALID", f"{field} {_shown(os.fsdecode(path))} has a NUL character at {at}; leave it out")
    return path


def _number(field: str, value: object, unit: str = "milliseconds") -> int:
    remedy = f"whole {unit}, or 0 for the default"
    if isinstance(value, bool) or not isinstance(value, int):
        raise _type(field, value, remedy)
    if not 0 <= value <= _MAX_U32:
        raise _value(field, value, remedy)
    return value


def _choice(field: str, value: object, choices: Dict[str, int]) -> int:
    if not isinstance(value, str) or value not in choices:
        raise _value(field, value, " or ".join(f'"{choice}"' for choice in choices))
    return choices[value]


def callback(given: Optional[OnEvent]) -> Optional[OnEvent]:
    if given is None:
        return None
    if not callable(given):
        raise _type("on_event", given, "a function, or None")
    if inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(getattr(given, "__call__", None)):
        raise InvalidTypeError("EL_INVALID", "on_event is a coroutine function; give a plain one, or use `async for event in election`")
    return given
