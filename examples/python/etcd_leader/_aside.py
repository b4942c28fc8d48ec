"""Calls of the library that run aside, on a thread of their own, while the one that wants the result waits.

Python runs signal handlers on the main thread, between any two instructions, and they may raise: KeyboardInterrupt does.
Raised in a callback of C's it would be printed and lost, and the event with it; and while C waits there is no instruction.
So what delivers or waits is called aside: there no handler runs, and here Ctrl-C is heard at once.
"""

from __future__ import annotations

import _thread
import asyncio
import os
import threading
from typing import Callable, List, Optional

from ._errors import forked

#: A signal that comes just before a wait begins, or to another thread, is handled when the wait is over. So it is never long.
SLICE_S = 0.5


def aside(call: Callable[[], None], patience: Optional[float] = None) -> None:
    """Calls, and waits; for `patience` seconds at most, if that is given. If the wait is over before, the call goes on."""
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
