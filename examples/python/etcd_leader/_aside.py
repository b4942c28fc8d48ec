"""Calls of the library that run aside, on a thread of their own, while the one that wants the result waits.

Python runs signal handlers on the main thread, between any two instructions, and they may raise: KeyboardInterrupt does.
Raised in a callback of C's it would be printed and lost, and the event with it; and while C waits there is no instruction.
So what delivers or waits is called aside: there no handler runs, and here Ctrl-C is heard at once.

Under gevent and eventlet the threads of Python are greenlets, and a call of C's would hold all of them up: there it is called
on a thread of the system's.
"""

from __future__ import annotations

import _thread
import asyncio
import importlib
import os
import sys
import threading
from typing import Any, Callable, List, Optional

from ._errors import forked

#: A signal that comes just before a wait begins, or to another thread, is handled when the wait is over. So it is never long.
SLICE_S = 0.5


def aside(call: Callable[[], None], patience: Optional[float] = None) -> None:
    """Calls, and waits; for `patience` seconds at most, if that is given. If the wait is over before, the call goes on."""
    green = _green_wait()
    if green is not None:
        return green(call, patience)
    if patience is None and threading.get_ident() != threading.main_thread().ident:
        return call()
    errors: List[BaseException] = []
    over = _thread.allocate_lock()
    over.acquire()

    def run() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)
        finally:
            over.release()

    process = os.getpid()
    if not in_background(run):
        return call()
    while not over.acquire(timeout=SLICE_S if patience is None else patience):
        if patience is not None:
            break
        # A signal handler has forked, and this is the child: nobody calls here.
        if process != os.getpid():
            raise forked()
    if errors:
        raise errors.pop()


async def aside_of_loop(call: Callable[[], None]) -> None:
    """The same for what may take a while, when an event loop is not to stand still."""
    loop = asyncio.get_running_loop()
    over: "asyncio.Future[None]" = loop.create_future()

    def settle(error: Optional[BaseException]) -> None:
        if not over.done():
            over.set_result(None) if error is None else over.set_exception(error)

    def run() -> None:
        outcome: Optional[BaseException] = None
        try:
            call()
        except BaseException as error:
            outcome = error
        try:
            loop.call_soon_threadsafe(settle, outcome)
        except RuntimeError:
            pass  # The loop was closed meanwhile: nobody waits.

    if not in_background(run):
        return call()
    await over


def in_background(call: Callable[[], None]) -> bool:
    """Calls and does not wait. False: the system gives no thread. Takes no lock, so that a finalizer may use it."""
    try:
        _thread.start_new_thread(call, ())
    except RuntimeError:
        return False
    return True


def _green_wait() -> Optional[Callable[[Callable[[], None], Optional[float]], None]]:
    """Calls on a thread of the system's, while other greenlets go on. `None` if threads are not greenlets."""
    gevent: Any = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return _wait_in_gevent
    eventlet: Any = sys.modules.get("eventlet.patcher")
    return _wait_in_eventlet if eventlet is not None and eventlet.is_monkey_patched("thread") else None


def _wait_in_gevent(call: Callable[[], None], patience: Optional[float]) -> None:
    gevent: Any = importlib.import_module("gevent")
    with gevent.Timeout(patience, False):
        gevent.get_hub().threadpool.apply(call)


def _wait_in_eventlet(call: Callable[[], None], patience: Optional[float]) -> None:
    eventlet: Any = importlib.import_module("eventlet")
    with eventlet.Timeout(patience, False):
        importlib.import_module("eventlet.tpool").execute(call)
