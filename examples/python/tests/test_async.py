"""`async for` and `async with`, under asyncio's own event loop and under uvloop."""

import asyncio
import time
import unittest
from typing import List

import support  # noqa: F401
from etcd_leader import BusyError, Elected, Election, Event, InvalidTypeError, Leader, Unelected
from support.loops import Loops, heard, until
from support.wait import PROMPTLY


class OnAsyncio(Loops):
    def test_async_for_takes_events_to_the_end_and_keeps_the_place_until_it_comes_back(self) -> None:
        async def main() -> None:
            one, two = self.candidate("one"), self.candidate("two")
            events: List[Event] = []
            async with one.election as election:
                self.assertIs(election, one.election)
                async for event in election:
                    events.append(event)
                    if isinstance(event, Leader):
                        await heard(two.start(), Leader)
                        election.stop()
                    if isinstance(event, Unelected):
                        await asyncio.sleep(0.3)
                        self.assertEqual(self.entries(), ["one", "two"])
                await heard(two, Elected)
            two.election.close()
            self.assertEqual([type(event).__name__ for event in events], ["Elected", "Leader", "Unelected", "Ended"])
            self.assertEqual([entry.event for entry in one.log], events)

        self.run_in_loop(main())
        self.assertEqual(self.entries(), [])

    def test_leaving_ends_a_task_that_still_takes_events(self) -> None:
        async def main() -> None:
            one = self.candidate("one")

            async def consume() -> List[Event]:
                return [event async for event in one.election]

            async with one.election:
                task = asyncio.ensure_future(consume())
                await until(lambda: one.heard(Leader))
            events = await asyncio.wait_for(task, PROMPTLY)
            self.assertEqual([type(event).__name__ for event in events][:2], ["Elected", "Leader"])
            self.assertEqual(one.names(), ["Elected", "Leader", "Unelected", "Ended"])

        self.run_in_loop(main())
        self.assertEqual(self.entries(), [])

    def test_one_task_at_a_time_takes_events(self) -> None:
        async def main() -> None:
            one, two = self.candidate("one"), self.candidate("two")
            async with one.election:
                await heard(one, Leader)
                await heard(two.start(), Leader)
                task = asyncio.ensure_future(two.election.__aiter__().__anext__())
                await asyncio.sleep(0)
                with self.assertRaisesRegex(BusyError, "by another thread or task"):
                    async for _ in two.election:
                        self.fail("it is being polled")
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
                # What is cancelled has taken nothing, and hinders nobody.
                one.election.stop()
                one.election.close()
                await heard(two, Elected)

        self.run_in_loop(main())

    def test_the_loop_goes_on_while_it_is_left(self) -> None:
        etcd = self.own_etcd()

        async def main() -> None:
            one = self.candidate("one", etcd=etcd, ttl=60, stop_timeout_ms=3000)
            gaps: List[float] = []

            async def tick() -> None:
                last = time.monotonic()
                while True:
                    await asyncio.sleep(0.01)
                    gaps.append(time.monotonic() - last)
                    last = time.monotonic()

            async with one.election:
                await heard(one, Elected)
                etcd.freeze()
                ticking = asyncio.ensure_future(tick())
            ticking.cancel()
            self.assertGreater(len(gaps), 3)
            self.assertLess(max(gaps), 2.0)

        self.run_in_loop(main())

    def test_mistakes_are_told(self) -> None:
        async def callback(event: Event) -> None:
            pass

        with self.assertRaisesRegex(InvalidTypeError, "on_event is a coroutine function"):
            Election(self.etcd.url, self.key, "one", on_event=callback)

class OnUvloop(OnAsyncio):
    uses = "uvloop"


if __name__ == "__main__":
    unittest.main()
