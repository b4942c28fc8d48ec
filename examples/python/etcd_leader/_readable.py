"""Waiting in an event loop of asyncio: asyncio's own, uvloop's, or any other that has `add_reader`."""

from __future__ import annotations

import asyncio

from ._handle import Handle


async def readable(handle: Handle) -> None:
    """Waits until there may be an event."""
    if handle.is_holding:
        return
    loop = asyncio.get_running_loop()
    fd = handle.fd()
    is_due: "asyncio.Future[None]" = loop.create_future()

    def settle() -> None:
        if not is_due.done():
            is_due.set_result(None)

    loop.add_reader(fd, settle)
    try:
        await is_due
    finally:
        forget(loop, handle)


def forget(loop: asyncio.AbstractEventLoop, handle: Handle) -> None:
    """Takes the descriptor out of the loop. A fork's child must not: the kernel's list of descriptors is its parent's, too."""
    if not handle.is_inherited and not handle.is_freed and not loop.is_closed():
        loop.remove_reader(handle.fd())
