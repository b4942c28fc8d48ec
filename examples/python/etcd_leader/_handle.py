"""One `el_election`, alone in an `el_queue`: the only file that calls the library."""

from __future__ import annotations

import ctypes
import os
import select
import threading
import time
from typing import Callable, Optional, Tuple

from . import _exit
from ._aside import aside
from ._errors import StoppedError, error_of, forked
from ._events import Elected, Event
from ._library import EL_EVENT_ENDED, ElConfig, ElEffective, ElEvent, load
from ._settings import Settings, in_our_words

#: A signal that another thread catches is handled when the wait is over. So no wait is long.
SLICE_S = 0.5
#: Many times what it takes for the library's thread to end.
_MOMENT_S = 0.05
#: How long one sleeps between two looks at whether it is freed.
_GLANCE_S = 0.0005


def _is_readable(fd: int, timeout_ms: float) -> bool:
    # eventlet takes select.poll away.
    if not hasattr(select, "poll"):
        return bool(select.select([fd], [], [], timeout_ms / 1000)[0])
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_ms))


class Handle:
    """From `el_start` to `el_free`. Any thread may ask, stop and release; one at a time takes events.

    A signal handler may raise after any call of C's. So each call writes into a place that is kept here: the election, the
    queue, and the event that was taken last, until it is dropped.
    """

    def __init__(self, settings: Settings) -> None:
        self._library = load(settings.library)
        self._dll = self._library.dll
        self._settings = settings
        #: In seconds.
        self.stop_timeout = 0.0
        #: The last event was taken.
        self.has_ended = False
        self.is_stopped = False
        #: It is freed, or about to be.
        self.is_freed = False
        #: And that is done.
        self._is_gone = False
        self._process = os.getpid()
        # Held while something is asked, so that nothing is asked of what was freed. A signal handler may ask as well.
        self._asking = threading.RLock()
        # Held while an event is taken and copied, and in el_free.
        self._inside = threading.Lock()
        self._queue, self._election = ctypes.c_void_p(), ctypes.c_void_p()
        #: Its type is 0 if there is none.
        self._event = ElEvent()
        self._copy: Optional[Event] = None

    def start(self) -> None:
        _exit.enter(self)
        with self._inside:
            if _exit.is_over():
                raise StoppedError("EL_STOPPED", "the process ends")
            try:
                self._check(self._dll.el_queue_new(ctypes.byref(self._queue)))
                config = self._settings.config(self._queue.value)
                self._check(self._dll.el_start(ctypes.byref(config), ctypes.sizeof(ElConfig), ctypes.byref(self._election)))
            finally:
                if not self._election:
                    self._free_inside()
        self.stop_timeout = self.effective().stop_timeout_ms / 1000

    def _check(self, status: int) -> int:
        """Raises what the last call on this thread failed with."""
        if status < 0:
            raise error_of(self._library.code(status), in_our_words(self._library.last_error()))
        return status

    @property
    def is_inherited(self) -> bool:
        """Whether this is a child of the process that the election runs in."""
        return self._process != os.getpid()

    def check_fork(self) -> None:
        if self.is_inherited:
            raise forked()

    # Questions. The library refuses NULL, and answers it with "no".

    def token(self) -> int:
        """0: we do not lead."""
        return 0 if self.is_inherited else self._ask(self._dll.el_token)

    def time_left_ms(self) -> int:
        return 0 if self.is_inherited else self._ask(self._dll.el_time_left_ms)

    def _ask(self, question: Callable[[ctypes.c_void_p], int]) -> int:
        with self._asking:
            return question(self._election)

    def leader(self) -> Tuple[str, int]:
        """The leader's name and token; 0: nobody is known to lead."""
        if self.is_inherited:
            return "", 0
        size, token = 256, ctypes.c_uint64()
        while True:
            name = ctypes.create_string_buffer(size)
            with self._asking:
                length: int = self._dll.el_leader(self._election, name, size, ctypes.byref(token))
            if length < size:
                return (name.value.decode("utf-8", "replace"), token.value) if length >= 0 else ("", 0)
            size = length + 1

    def effective(self) -> ElEffective:
        self.check_fork()
        found = ElEffective()
        with self._asking:
            if self.is_freed:
                raise StoppedError("EL_STOPPED", "the election was closed")
            self._check(self._dll.el_settings(self._election, ctypes.byref(found), ctypes.sizeof(found)))
        return found

    # Orders.

    def stop(self) -> None:
        """Asks for the end; also in a signal handler."""
        if not self.is_inherited:
            self.is_stopped = True
            with self._asking:
                self._dll.el_stop(self._election)

    def hold(self) -> None:
        """After a stop: the place is kept until the release, and not for `stop_timeout` only."""
        if not self.is_inherited:
            with self._asking:
                self._dll.el_hold(self._election)

    def release(self) -> None:
        """The leading work has ended: after a stop the place goes."""
        if not self.is_inherited:
            with self._asking:
                self._dll.el_release(self._election)

    # Events.

    def fd(self) -> int:
        """Is readable while there may be an event to take."""
        self.check_fork()
        if self.is_freed:
            # Its number may be another's by now.
            raise StoppedError("EL_STOPPED", "the election was closed")
        with self._asking:
            return self._check(self._dll.el_queue_fd(self._queue))

    @property
    def is_holding(self) -> bool:
        """An event was taken and not dropped."""
        return bool(self._event.type)

    def wait(self, until: Optional[float] = None) -> bool:
        """Waits until there may be an event; until then (`time.monotonic`) at most, or for ever. False: it was in vain."""
        while True:
            # A signal handler may have forked, and this be the child; or have freed it.
            self.check_fork()
            if self.is_freed or self.is_holding:
                return True
            left_ms = float("inf") if until is None else (until - time.monotonic()) * 1000
            # Rounded up: no spinning through the last millisecond.
            if _is_readable(self.fd(), min(SLICE_S * 1000, left_ms + 1) if left_ms > 0 else 0):
                return True
            if left_ms <= 0:
                return False

    def peek(self) -> Optional[Event]:
        """The next event, if there is one; the same until it is dropped. The library gives no term that is over; one that was
        taken before, and is told only now, may be."""
        self.check_fork()
        while not self.is_freed:
            with self._inside:
                is_new = not self._event.type
                if is_new:
                    self._copy = None
                    if not self._take(0):
                        return None
                if self._copy is None:
                    self._copy = self._library.read(self._event)
                if self._event.type == EL_EVENT_ENDED:
                    self.has_ended = True
            # The clock may be in doubt just now, and the term go on: that is no reason to keep a new event back.
            is_over = not is_new and isinstance(self._copy, Elected) and self.token() != self._copy.token
            if self._copy is not None and not is_over:
                return self._copy
            self.drop()
        return None

    def drop(self) -> None:
        """The event that was peeked at is told."""
        self._event.type = 0

    def _take(self, timeout_ms: int) -> int:
        return self._check(self._dll.el_queue_next(self._queue, timeout_ms, ctypes.byref(self._event), ctypes.sizeof(ElEvent)))

    # The end.

    def free(self) -> None:
        """Frees it after its end. The library's thread ends with the last election. Should that take longer than a moment, since a
        place of another one is in doubt, nobody is held up. One that was abandoned is waited for."""
        if self.is_inherited:
            return
        until = time.monotonic() + _MOMENT_S + (self.stop_timeout if self.is_freed else 0)
        if not self._is_gone:
            self._free_aside()
        while not self._is_gone and time.monotonic() < until:
            time.sleep(_GLANCE_S)

    def abandon(self) -> None:
        """The same without waiting, also before its end. A finalizer does this."""
        if not self.is_inherited and not _exit.is_over():
            self.stop()
            self._free_aside()

    def _free_aside(self) -> None:
        # In this order: nobody waits for news of it any more, and then its descriptor may go. A second call frees nothing twice:
        # a signal handler may have raised in the first one, before the thread began.
        self.has_ended = self.is_freed = True
        if not aside(self._free):
            self._free()

    def _free(self) -> None:
        with self._inside:
            self._free_inside()

    def _free_inside(self) -> None:
        self.is_freed = True
        with self._asking:
            election, self._election = self._election, ctypes.c_void_p()
        self._dll.el_free(election)
        with self._asking:
            queue, self._queue = self._queue, ctypes.c_void_p()
        self._dll.el_queue_free(queue)
        self._is_gone = True
        _exit.left(self)

    def leave(self, until: float) -> None:
        """At the end of the process, after a stop: tells nobody, and leaves the rest to it."""
        self.release()
        # The library waits, not this thread's loop: that may have ended, or wait for the same descriptor.
        while not self.is_inherited and (self.is_freed or not self.has_ended):
            left = until - time.monotonic()
            if left <= 0 or not self._inside.acquire(timeout=left):
                return
            try:
                # It is refused if it was freed meanwhile.
                self._take(max(0, int((until - time.monotonic()) * 1000)))
                if self._event.type == EL_EVENT_ENDED:
                    return
            finally:
                self._inside.release()
