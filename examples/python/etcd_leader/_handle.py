"""One `el_election`: the only file that calls the library."""

from __future__ import annotations

import ctypes
import os
import select
import threading
import time
from typing import Any, Callable, List, Optional, Tuple

from . import _exit
from ._aside import SLICE_S, aside, in_background
from ._errors import EtcdLeaderError, StoppedError, error_of, forked
from ._events import Elected
from ._inbox import Inbox
from ._library import EL_OK, EL_STOPPED, ON_EVENT, ElConfig, ElEffective, load
from ._settings import Settings, in_our_words

#: Many times what it takes for the library's thread to end.
_MOMENT_S = 0.05


def _is_readable(fd: int, timeout_ms: float) -> bool:
    # eventlet takes select.poll away.
    if not hasattr(select, "poll"):
        return bool(select.select([fd], [], [], timeout_ms / 1000)[0])
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_ms))


class Handle:
    """From `el_start` to `el_free`. Any thread may ask and stop; what waits and delivers is for one at a time."""

    def __init__(self, settings: Settings) -> None:
        self._library = load(settings.library)
        self._dll = self._library.dll
        self._settings = settings
        self.stop_timeout = settings.stop_timeout
        self.inbox = Inbox()
        #: The election has ended, and the inbox has all that is left to tell.
        self.has_ended = False
        self.is_stopped = False
        #: Whoever takes events has been given the end of a term after a stop: to come again says that the work has ended.
        self.comes_back = False
        #: With which we led when it was stopped; 0 if we did not.
        self.token_at_stop = 0
        #: It is freed, or about to be.
        self.is_freed = False
        self._is_abandoned = False
        self._process = os.getpid()
        # Held while something is asked, so that nothing is asked of what was freed. A signal handler may ask as well.
        self._asking = threading.RLock()
        # Held in el_poll and el_free.
        self._inside = threading.Lock()
        self._pointer: Optional[int] = None
        self._fd = -1
        self._mishaps: List[BaseException] = []
        # Kept as long as this is, and this is kept until el_free has returned.
        self._on_event = self._trampoline()

    def _trampoline(self) -> Any:
        """What C calls: it copies the event, and nothing else. It knows nothing of the handle, so that it keeps nobody."""
        read, add, mishaps = self._library.read, self.inbox.add, self._mishaps

        def on_event(event: Any, user_data: Any) -> None:
            try:
                copy = read(event.contents)
                if copy is not None:
                    add(copy)
            except BaseException as mishap:
                mishaps.append(mishap)

        return ON_EVENT(on_event)

    def start(self) -> None:
        # At once: whoever waits here may be interrupted, and end the process.
        _exit.enter(self)
        aside(self._start)

    def _start(self) -> None:
        with self._inside:
            # Whoever waited may have been interrupted, and have ended this before it began.
            if self.is_freed:
                return
            if _exit.is_over():
                raise StoppedError("EL_STOPPED", "the process ends")
            pointer = ctypes.c_void_p()
            config = self._settings.config(self._on_event)
            status = self._dll.el_start(ctypes.byref(config), ctypes.sizeof(ElConfig), ctypes.byref(pointer))
            if status != EL_OK:
                _exit.left(self)
                raise self._error(status)
            self._pointer = pointer.value
        if self.is_stopped:
            self.stop()

    def _error(self, status: int) -> EtcdLeaderError:
        """What the last call on this thread failed with."""
        return error_of(self._library.code(status), in_our_words(self._library.last_error()))

    @property
    def is_inherited(self) -> bool:
        """Whether this is a child of the process that the election runs in."""
        return self._process != os.getpid()

    def check_fork(self) -> None:
        if self.is_inherited:
            raise forked()

    # What is asked. NULL is refused by the library, and answered with "no".

    def token(self) -> int:
        """0: we do not lead."""
        return 0 if self.is_inherited else self._ask(self._dll.el_token)

    def time_left_ms(self) -> int:
        return 0 if self.is_inherited else self._ask(self._dll.el_time_left_ms)

    def _ask(self, question: Callable[[Optional[int]], int]) -> int:
        with self._asking:
            return question(self._pointer)

    def leader(self) -> Tuple[str, int]:
        """The leader's name and token; 0: nobody is known to lead."""
        if self.is_inherited:
            return "", 0
        size, token = 256, ctypes.c_uint64()
        while True:
            name = ctypes.create_string_buffer(size)
            with self._asking:
                length: int = self._dll.el_leader(self._pointer, name, size, ctypes.byref(token))
            if length < size:
                return (name.value.decode("utf-8", "replace"), token.value) if length >= 0 else ("", 0)
            size = length + 1

    def effective(self) -> ElEffective:
        self.check_fork()
        found = ElEffective()
        with self._asking:
            status = self._dll.el_settings(self._pointer, ctypes.byref(found), ctypes.sizeof(found))
            if status != EL_OK:
                raise self._error(status)
        return found

    def stop(self) -> None:
        """Asks for the end; also in a signal handler."""
        if not self.is_inherited:
            if not self.is_stopped:
                self.token_at_stop = self.token()
            self.is_stopped = True
            with self._asking:
                self._dll.el_stop(self._pointer)

    # What waits and delivers.

    def fd(self) -> int:
        """Is readable while there is something to collect."""
        self.check_fork()
        if self.is_freed:
            # Its number may be another's by now.
            raise StoppedError("EL_STOPPED", "the election was closed")
        if self._fd < 0:
            with self._asking:
                found: int = self._dll.el_fd(self._pointer)
                if found < 0:
                    raise self._error(found)
            self._fd = found
        return self._fd

    def wait(self, until: Optional[float] = None) -> bool:
        """Waits until there is something to collect; until then (`time.monotonic`) at most, or for ever. False: it was in vain."""
        while True:
            # A signal handler may have forked, and this be the child; or have freed it.
            self.check_fork()
            if self.is_freed or self.comes_back:
                return True
            left_ms = float("inf") if until is None else (until - time.monotonic()) * 1000
            # Rounded up: no spinning through the last millisecond.
            if _is_readable(self.fd(), min(SLICE_S * 1000, left_ms + 1) if left_ms > 0 else 0):
                return True
            if left_ms <= 0:
                return False

    def collect(self) -> None:
        """Takes what is due into the inbox. To come here says: what was collected before has been heard, and if it was the
        end of a term after a stop, the place may go."""
        self.check_fork()
        aside(self._collect)

    def collect_if_due(self) -> None:
        if not self.has_ended and self.wait(0):
            self.collect()

    def _collect(self) -> None:
        with self._inside:
            if self._pointer is None:
                self.has_ended = True
                return
            before = self.inbox.ends
            status = self._dll.el_poll(self._pointer, 0)
            self.comes_back = self.is_stopped and self.inbox.ends > before
            if status < 0 and status != EL_STOPPED:
                raise self._error(status)
        self.has_ended = self.is_freed or status == EL_STOPPED or self.inbox.has_failed
        if self._mishaps:
            raise self._mishaps.pop()

    def look_again(self, event: Elected) -> None:
        """Collects the end of a term, if it may have come."""
        if self.token() != event.token:
            self.collect()

    # The end.

    def free(self) -> None:
        """`el_free`, after the end. With the last election the library's thread ends, too; should that take longer than a
        moment, since a place of another one is in doubt, nobody is held up. One that was abandoned is waited for."""
        if not self.is_inherited:
            self.is_freed = True
            aside(self._free, None if self._is_abandoned else _MOMENT_S)

    def _free(self) -> None:
        with self._inside:
            with self._asking:
                pointer, self._pointer = self._pointer, None
            self._dll.el_free(pointer)
            self.has_ended = True
        _exit.left(self)

    def abandon(self, first: Callable[[], None] = lambda: None) -> None:
        """The same without waiting, after `first`. What a finalizer does."""

        def end() -> None:
            first()
            aside(self._free)

        if not self.is_inherited and not _exit.is_over():
            self.stop()
            # In this order: nobody waits for news of it any more, and then its descriptor may go.
            self.has_ended = self._is_abandoned = self.is_freed = True
            in_background(end)

    def leave(self, until: float) -> None:
        """At the end of the process: tells nobody, and leaves the rest to it."""
        while True:
            left = until - time.monotonic()
            if self.is_inherited or left <= 0 or not self._inside.acquire(timeout=left):
                return
            try:
                # The library waits, not this thread's loop: that may have ended, or wait for the same descriptor.
                left_ms = max(0, int((until - time.monotonic()) * 1000))
                if self._pointer is None or self._dll.el_poll(self._pointer, left_ms) < 0:
                    return
            finally:
                self._inside.release()
