"""Event loops: asyncio's own, and uvloop."""

import asyncio
import time
from typing import Any, Callable, Coroutine, TypeVar

from .case import Candidate, Case
from .wait import PATIENCE

T = TypeVar("T")


async def until(probe: Callable[[], T]) -> T:
    """Lets others run until it gives something true."""
    give_up = time.monotonic() + PATIENCE
    while not probe():
        assert time.monotonic() < give_up, "waited in vain"
        await asyncio.sleep(0.005)
    return probe()


async def heard(candidate: Candidate, kind: type) -> None:
    """Takes events until it has heard one of these."""
    if not candidate.heard(kind):
        async for event in candidate.election:
            if isinstance(event, kind):
                return


async def leads(candidate: Candidate) -> bool:
    """Leads for a moment."""
    async with candidate.election.lead() as term:
        await asyncio.sleep(0)
        return not term.is_lost()


class Loops(Case):
    uses = "asyncio"

    def new_loop(self) -> asyncio.AbstractEventLoop:
        if self.uses == "asyncio":
            return asyncio.new_event_loop()
        import uvloop

        return uvloop.new_event_loop()

    def run_in_loop(self, main: Coroutine[Any, Any, T]) -> T:
        if self.uses == "asyncio":
            return asyncio.run(main)
        loop = self.new_loop()
        try:
            return loop.run_until_complete(main)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
