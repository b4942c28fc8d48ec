"""`async with election.lead()`, under asyncio's own event loop and under uvloop."""

import asyncio
import gc
import signal
import sys
import threading
import unittest
from typing import Any, Dict, List, Optional
from unittest import mock

import support  # noqa: F401
from etcd_leader import AsyncTerm, BusyError, Elected, Ended, EtcdLeaderError, Event, Leader, LostError, OverrunError, StoppedError
from support.case import Candidate, Case
from support.loops import Loops, heard, leads, until
from support.wait import PATIENCE, wait_for


class OnAsyncio(Loops):
    def test_lead_starts_leads_and_gives_the_place_up(self) -> None:
        async def main() -> None:
            one = self.candidate("one")
            async with one.election.lead() as term:
                self.assertEqual((one.election.token, self.entries()), (term.token, ["one"]))
                self.assertFalse(term.is_lost() or term.lost.is_set())
            self.assertEqual((self.entries(), one.election.is_running), ([], False))
            self.assertTrue(term.is_lost())

            async def work(next: AsyncTerm) -> bool:
                await asyncio.sleep(0)
                return next.token > term.token

            self.assertTrue(await one.election.lead(work))
            self.assertEqual(self.entries(), [])

        self.run_in_loop(main())

    def test_a_loss_cancels_the_work_and_is_raised(self) -> None:
        async def main() -> None:
            one = self.candidate("one", ttl=2)
            steps: List[object] = []

            async def work(term: AsyncTerm) -> None:
                self.etcd.remove_leader(self.key)
                try:
                    await asyncio.sleep(PATIENCE)
                except asyncio.CancelledError:
                    steps.append((term.is_lost(), isinstance(term.reason, LostError), one.election.is_leader, await term.lost))
                    await asyncio.sleep(0.01)
                    steps.append("cleaned up")
                    raise

            with self.assertRaises(LostError) as caught:
                await one.election.lead(work)
            self.assertEqual(caught.exception.code, "EL_KEY_LOST")
            self.assertIsInstance(caught.exception.__cause__, asyncio.CancelledError)
            self.assertEqual(steps, [(True, True, False, True), "cleaned up"])
            self.assertEqual(self.entries(), [])
            self.assert_not_cancelled()

        self.run_in_loop(main())

    def assert_not_cancelled(self) -> None:
        """As after asyncio.timeout(): the task may go on."""
        if sys.version_info >= (3, 11):
            task = asyncio.current_task()
            self.assertEqual(task.cancelling() if task else None, 0)

    def test_a_stop_cancels_the_work_and_keeps_the_place_until_it_has_ended(self) -> None:
        async def main() -> None:
            options: Dict[str, Any] = {"ttl": 10, "renew_ms": 500, "step_down_ms": 1000}
            one, two = self.candidate("one", **options), self.candidate("two", **options)
            with self.assertRaises(StoppedError) as caught:
                async with one.election.lead() as term, two.election:
                    await heard(two, Leader)
                    one.election.stop()
                    try:
                        await asyncio.sleep(PATIENCE)
                    finally:
                        self.assertIsInstance(term.reason, StoppedError)
                        # Cleaning up takes longer than the margin, and than a renewal.
                        await asyncio.sleep(1.5)
                        self.assertEqual(self.entries(), ["one", "two"])
            self.assertRegex(str(caught.exception), "EL_STOPPED: the election was asked to stop")
            self.assertEqual(two.heard(Elected), [])
            self.assert_not_cancelled()

        self.run_in_loop(main())

    def test_work_that_ends_well_after_a_stop_is_fine_if_it_is_in_time(self) -> None:
        async def main() -> None:
            one = self.candidate("one", stop_timeout_ms=1000)
            for seconds, outcome in ((0.01, None), (1.5, OverrunError)):
                raised: Optional[BaseException] = None
                try:
                    async with one.election.lead():
                        one.election.stop()
                        try:
                            await asyncio.sleep(PATIENCE)
                        except asyncio.CancelledError:
                            await asyncio.sleep(seconds)
                except EtcdLeaderError as error:
                    raised = error
                self.assertEqual(type(raised), outcome or type(None))
                self.assert_not_cancelled()
            self.assertEqual([event.code for event in one.heard(Ended)], ["EL_OK", "EL_OVERRUN"])

        self.run_in_loop(main())

    def test_work_that_ends_well_after_a_loss_is_told_of_it(self) -> None:
        async def main() -> None:
            one = self.candidate("one", ttl=2)
            with self.assertRaises(LostError):
                async with one.election.lead() as term:
                    self.etcd.remove_leader(self.key)
                    try:
                        await term.lost.wait()
                    except asyncio.CancelledError:
                        pass
            self.assert_not_cancelled()

        self.run_in_loop(main())

    def test_what_is_lost_while_the_work_ends_after_a_stop_is_raised(self) -> None:
        async def main() -> None:
            one, two = self.candidate("one", stop_timeout_ms=20000), self.candidate("two")
            with self.assertRaises(LostError) as caught:
                async with one.election.lead() as term:
                    one.election.stop()
                    try:
                        await asyncio.sleep(PATIENCE)
                    finally:
                        self.assertIsInstance(term.reason, StoppedError)
                        self.etcd.remove_leader(self.key)
                        # It is led by the next one, who was told that our key is gone, as we were.
                        await heard(two.start(), Elected)
            self.assertEqual(caught.exception.code, "EL_KEY_LOST")
            self.assert_not_cancelled()

        self.run_in_loop(main())

    def test_a_stop_before_it_led_is_told(self) -> None:
        async def main() -> None:
            self.leader("one")
            two = self.candidate("two")
            two.also = lambda event: two.election.stop()
            with self.assertRaisesRegex(StoppedError, "before the work began"):
                async with two.election.lead():
                    self.fail("it does not lead")

        self.run_in_loop(main())

    def test_what_the_work_raises_is_raised(self) -> None:
        async def main() -> None:
            one = self.candidate("one")
            with self.assertRaisesRegex(KeyError, "mishap"):
                async with one.election.lead():
                    raise KeyError("mishap")
            self.assertEqual(self.entries(), [])

        self.run_in_loop(main())

    def test_it_can_be_cancelled_while_it_waits_and_while_it_leads(self) -> None:
        async def main() -> None:
            one, two = self.candidate("one"), self.candidate("two")

            async def lead(candidate: Candidate) -> None:
                async with candidate.election.lead():
                    await asyncio.sleep(PATIENCE)

            leading = asyncio.ensure_future(lead(one))
            await until(lambda: one.heard(Elected))
            waiting = asyncio.ensure_future(lead(two))
            await until(lambda: two.heard(Leader))
            for task, rest in ((waiting, ["one"]), (leading, [])):
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
                self.assertEqual(self.entries(), rest)
            self.assertFalse(one.election.is_running or two.election.is_running)
            with self.assertRaises(asyncio.TimeoutError):
                async with one.election.lead():
                    await asyncio.wait_for(lead(two), 0.3)
            self.assertEqual(self.entries(), [])

        self.run_in_loop(main())

    def test_a_cancelling_that_meets_a_loss_stays_one(self) -> None:
        # Before Python 3.11 nobody can tell.
        raised = asyncio.CancelledError if sys.version_info >= (3, 11) else LostError

        async def main() -> None:
            one = self.candidate("one", ttl=2)

            async def work(term: AsyncTerm) -> None:
                try:
                    self.etcd.remove_leader(self.key)
                    await asyncio.sleep(PATIENCE)
                finally:
                    cleaning.set()
                    await asyncio.sleep(PATIENCE)

            cleaning = asyncio.Event()
            task = asyncio.ensure_future(one.election.lead(work))
            await cleaning.wait()
            task.cancel()
            with self.assertRaises(raised):
                await task

        self.run_in_loop(main())

    def test_meanwhile_nobody_else_polls(self) -> None:
        async def main() -> None:
            one = self.candidate("one")
            async with one.election.lead():
                with self.assertRaises(BusyError):
                    one.election.poll(0)
                with self.assertRaises(BusyError):
                    async with one.election.lead():
                        self.fail("there is one already")
                self.assertTrue(one.election.is_leader)

        self.run_in_loop(main())

    def test_events_are_told_while_the_work_runs_and_what_the_callback_raises_is_raised_at_its_end(self) -> None:
        def also(event: Event) -> None:
            if isinstance(event, Leader):
                raise KeyError("of the callback")

        async def main() -> None:
            one = self.candidate("one")
            with self.assertRaisesRegex(KeyError, "of the callback"):
                async with one.election.lead():
                    if not one.heard(Leader):
                        one.also = also
                        await until(lambda: one.heard(Leader))
                    else:
                        raise KeyError("it was told before: of the callback")
            self.assertEqual(self.entries(), [])

        self.run_in_loop(main())

    def test_a_stop_from_another_thread_is_heard(self) -> None:
        async def main() -> None:
            one = self.candidate("one")
            thread = threading.Thread(target=one.election.stop)
            with self.assertRaises(StoppedError):
                async with one.election.lead():
                    thread.start()
                    await asyncio.sleep(PATIENCE)
            thread.join()

        self.run_in_loop(main())

    def test_a_loop_that_is_closed_early_gives_the_place_up(self) -> None:
        async def lead() -> None:
            async with one.election.lead():
                await asyncio.sleep(PATIENCE)

        async def block() -> None:
            async with one.election:
                async for _ in one.election:
                    pass

        for what, work in {"lead": lead, "block": block}.items():
            with self.subTest(what), mock.patch("sys.unraisablehook") as ignored:
                one = self.candidate("one", ttl=60)
                loop = self.new_loop()
                # asyncio says, rightly, that a task was destroyed.
                loop.set_exception_handler(lambda loop, context: None)
                task = loop.create_task(work())
                loop.run_until_complete(until(lambda: one.heard(Leader)))
                loop.close()
                del task
                gc.collect()
                wait_for("its place to be given up", lambda: not self.entries(), 5)
                self.assertFalse(one.election.is_running or one.election.is_leader)
                ignored.assert_not_called()
                # In another loop it may begin afresh.
                self.assertTrue(self.run_in_loop(leads(one)))
                self.assertEqual(self.entries(), [])

    def test_a_loop_on_another_thread(self) -> None:
        one = self.candidate("one")
        found: List[bool] = []
        thread = threading.Thread(target=lambda: found.append(self.run_in_loop(leads(one))))
        thread.start()
        thread.join(PATIENCE)
        self.assertEqual((found, self.entries()), ([True], []))

    def test_sigint_and_sigterm_end_a_program_in_order(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            child = self.program(f"""
import asyncio
{"import uvloop; asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())" if self.uses == "uvloop" else ""}
async def main():
    task = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with Election({self.etcd.url!r}, {self.key!r}, "child", ttl=5).lead() as term:
        say("leads")
        try:
            await asyncio.sleep(60)
        finally:
            say("cleans up")
try:
    asyncio.run(main())
except asyncio.CancelledError:
    say("cancelled")
""")
            child.says("leads")
            child.signal(number)
            child.says("cancelled")
            self.assertEqual(self.entries(), [])
            self.ends_promptly(child)


class OnUvloop(OnAsyncio):
    uses = "uvloop"


class KeyboardInterrupts(Case):
    def test_ctrl_c_without_any_handler_gives_the_place_up(self) -> None:
        child = self.program(f"""
import asyncio
async def main():
    async with Election({self.etcd.url!r}, {self.key!r}, "child", ttl=5).lead() as term:
        say("leads")
        await asyncio.sleep(60)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    say("interrupted")
""")
        child.says("leads")
        child.signal(signal.SIGINT)
        child.says("interrupted")
        self.assertEqual(self.entries(), [])
        self.ends_promptly(child)


if __name__ == "__main__":
    unittest.main()
