"""Calls of C's that block are made aside, on a thread of the system's, so that Ctrl-C is heard and greenlets go on."""

from __future__ import annotations

import _thread
import sys
from typing import Any, Callable


def aside(call: Callable[[], None]) -> bool:
    """Calls and does not wait. False: the system gives no thread."""
    try:
        _start_new_thread()(call, ())
    except RuntimeError:
        return False
    return True


def _start_new_thread() -> Any:
    """gevent and eventlet may have put greenlets in the place of threads. A call of C's in one would hold up all others."""
    gevent: Any = sys.modules.get("gevent.monkey")
    if gevent is not None:
        return gevent.get_original("_thread", "start_new_thread")
    eventlet: Any = sys.modules.get("eventlet.patcher")
    return (_thread if eventlet is None else eventlet.original("_thread")).start_new_thread
