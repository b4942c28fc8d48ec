"""`with election.lead()`: the work of one term, and when the place goes; on both APIs."""

import _thread
import asyncio
import concurrent.futures
import signal
import threading
import time
import unittest
from typing import Any, Dict, Iterator, List
from unittest import mock

import support  # noqa: F401
from etcd_leader import (
    BusyError,
    Elected,
    Ended,
    EtcdLeaderError,
    Event,
    InvalidTypeError,
    Leader,
    LostError,
    OverrunError,
    StoppedError,
    Term,
    Unelected,
)
from support.case import Case
from support.wait import PATIENCE, PROMPTLY, wait_for


class OnV3(Case):
    def test_starts_leads_and_gives_the_place_up(self) -> None:
        one = self.candidate("one")
        with one.election.lead() as term:
            self.assertTrue(one.election.is_leader and one.election.is_running)
            self.assertEqual((one.election.token, self.entries()), (term.token, ["one"]))
            self.assertFalse(term.is_lost() or term.lost.is_set() or term.lost.wait(0.01))
            self.assertIsNone(term.reason)
        self.assertEqual(self.entries(), [])
        self.assertFalse(one.election.is_running or one.election.is_leader)
        self.assertTrue(term.is_lost() and term.lost.wait())
        with self.assertRaisesRegex(StoppedError, "the election was closed"):
            one.election.settings
        self.assertEqual(one.names(), ["Elected", "Leader", "Unelected", "Ended"])
        # Again, and as a function.
        self.assertTrue(one.election.lead(lambda next: next.token > term.token))
        self.assertEqual(self.entries(), [])

    def test_the_successor_leads_only_after_the_work_has_ended(self) -> None:
        options: Dict[str, Any] = {"ttl": 10, "renew_ms": 500, "step_down_ms": 1000}
        one, two = self.candidate("one", **options), self.candidate("two", **options)
        successor = threading.Thread(target=two.hears, args=(Elected,))
        with one.election.lead() as term:
            two.start().hears(Leader)
            successor.start()
            one.election.stop()
            self.assertTrue(term.lost.wait(PROMPTLY))
            self.assertIsInstance(wait_for("the reason", lambda: term.reason), StoppedError)
            # Cleaning up takes longer than the margin, and than a renewal.
            time.sleep(1.5)
            self.assertEqual(two.heard(Elected), [])
            self.assertEqual(self.entries(), ["one", "two"])
            ended = time.monotonic()
        successor.join(PATIENCE)
        elected = [entry.at for entry in two.log if isinstance(entry.event, Elected)]
        self.assertEqual(len(elected), 1)
        self.assertGreaterEqual(elected[0], ended)

    def test_the_work_is_waited_for_no_longer_than_stop_timeout_ms(self) -> None:
        one, two = self.candidate("one", stop_timeout_ms=300), self.candidate("two")
        with self.assertRaises(OverrunError) as caught:
            with one.election.lead():
                two.start().hears(Leader)
                begun = time.monotonic()
                one.election.stop()
                two.hears(Elected)
                self.assertGreaterEqual(time.monotonic() - begun, 0.3)
        self.assertEqual(caught.exception.code, "EL_OVERRUN")
        self.assertIsInstance(caught.exception, StoppedError)
        self.assertEqual(one.heard(Ended)[0].code, "EL_OVERRUN")

    def test_a_loss_is_seen_at_once_and_raised_when_the_work_has_ended(self) -> None:
        one = self.candidate("one", ttl=60)
        steps = []
        with self.assertRaises(LostError) as caught:
            with one.election.lead() as term:
                self.etcd.remove_leader(self.key, self.api)
                self.assertTrue(term.lost.wait(PROMPTLY))
                self.assertFalse(one.election.is_leader)
                self.assertIsInstance(wait_for("the reason", lambda: term.reason), LostError)
                steps.append("ended")
        self.assertEqual((caught.exception.code, steps), ("EL_KEY_LOST", ["ended"]))
        # One term is all there was: it is not in line for another.
        self.assertEqual(self.entries(), [])
        self.assertEqual([name for name in one.names() if name != "Leader"], ["Elected", "Unelected", "Ended"])

    def test_what_the_work_raises_is_raised_and_the_place_given_up(self) -> None:
        one = self.candidate("one")
        with self.assertRaisesRegex(KeyError, "mishap"):
            with one.election.lead():
                raise KeyError("mishap")
        self.assertEqual(self.entries(), [])

        def work(term: Term) -> None:
            self.etcd.remove_leader(self.key, self.api)
            term.lost.wait()
            raise KeyError("mishap")

        with self.assertRaisesRegex(KeyError, "mishap"):
            one.election.lead(work)
        self.assertEqual(self.entries(), [])

    def test_a_stop_while_it_waits_is_told(self) -> None:
        self.leader("one")
        two = self.candidate("two")
        two.also = lambda event: two.election.stop()
        with self.assertRaisesRegex(StoppedError, "EL_STOPPED: the election was stopped before the work began"):
            with two.election.lead():
                self.fail("it does not lead")
        self.assertEqual((self.entries(), two.election.is_running), (["one"], False))

    def test_a_stop_while_it_waits_is_told_and_not_a_term_before(self) -> None:
        one = self.leader("one", ttl=2)
        two = self.candidate("two").start()
        two.hears(Leader)
        self.etcd.remove_leader(self.key, self.api)
        one.hears(Unelected)
        # All that there is to tell may have come with that event: a stop from elsewhere does not wait for another.
        stop = threading.Timer(0.2, one.election.stop)
        stop.start()
        self.addCleanup(stop.join)
        with self.assertRaisesRegex(StoppedError, "EL_STOPPED: the election was stopped before the work began"):
            one.election.lead(lambda term: self.fail("it does not lead"))
        self.assertEqual([event.code for event in one.heard(Ended)], ["EL_KEY_LOST"])

    def test_the_work_of_a_term_that_the_callback_has_ended_does_not_begin(self) -> None:
        one = self.candidate("one")
        one.also = lambda event: one.election.stop()
        with self.assertRaisesRegex(StoppedError, "before the work began"):
            one.election.lead(lambda term: self.fail("it does not lead"))
        self.assertEqual(one.names(), ["Elected", "Unelected", "Ended"])
        self.assertEqual(self.entries(), [])

    def test_takes_the_lead_of_an_election_that_leads_already(self) -> None:
        one = self.leader("one")
        token = one.heard(Elected)[0].token
        self.assertEqual(one.election.lead(lambda term: term.token), token)
        self.assertEqual([name for name in one.names() if name != "Leader"], ["Elected", "Unelected", "Ended"])
        with one.election as election:
            self.assertGreater(election.lead(lambda term: term.token), token)
        self.assertEqual(self.entries(), [])

    def test_meanwhile_nobody_else_polls(self) -> None:
        one = self.candidate("one")
        with one.election.lead():
            for use in (lambda: one.election.poll(0), lambda: one.election.lead(lambda term: None), one.election.close):
                with self.assertRaisesRegex(BusyError, "by lead"):
                    use()
            self.assertTrue(one.election.is_leader)

    def test_what_the_callback_raises_is_raised_by_lead(self) -> None:
        def also(event: Event) -> None:
            raise KeyError(type(event).__name__)

        one = self.candidate("one", also=also)
        with self.assertRaisesRegex(KeyError, "lected|Leader|Ended"):
            one.election.lead(lambda term: self.fail("it does not lead"))
        self.assertEqual(self.entries(), [])


class OnV2(OnV3):
    api = "v2"


class Trouble(Case):
    def test_the_end_comes_by_our_own_clock_when_etcd_is_gone(self) -> None:
        etcd = self.own_etcd()
        one = self.candidate("one", etcd=etcd, ttl=4, stop_timeout_ms=500)
        with self.assertRaises(LostError) as caught:
            with one.election.lead() as term:
                begun = time.monotonic()
                etcd.kill()
                self.assertTrue(term.lost.wait(PATIENCE))
                self.assertLess(time.monotonic() - begun, 4, "the lease has run out")
        self.assertEqual(caught.exception.code, "EL_DEADLINE")

    def test_with_etcd_frozen_it_leaves_within_stop_timeout_ms(self) -> None:
        etcd = self.own_etcd()
        one = self.candidate("one", etcd=etcd, ttl=60, stop_timeout_ms=700)
        with one.election.lead():
            etcd.freeze()
            begun = time.monotonic()
        self.assertLess(time.monotonic() - begun, 3)

    def test_trouble_that_comes_while_the_work_runs_is_told_afterwards(self) -> None:
        etcd = self.own_etcd()
        one = self.candidate("one", etcd=etcd, ttl=2)
        with self.assertRaises(LostError):
            with one.election.lead() as term:
                etcd.kill()
                term.lost.wait()
                self.assertNotIn("Retrying", one.all_names())
                etcd.restart()
        self.assertLess(one.all_names().index("Retrying"), one.all_names().index("Unelected"))

    def test_what_cannot_go_on_is_raised(self) -> None:
        one = self.candidate("one", etcd=self.own_etcd("--enable-v2=false"), api="v2")
        for _ in range(2):
            with self.assertRaises(EtcdLeaderError) as caught:
                with one.election.lead():
                    self.fail("it does not lead")
            self.assertEqual(caught.exception.code, "EL_UNSUPPORTED")
        self.assertEqual(one.names().count("Ended"), 2)

    def test_mistakes_are_told(self) -> None:
        async def work(term: object) -> None:
            pass

        one = self.candidate("one")
        with self.assertRaisesRegex(InvalidTypeError, "work is of the type str; give a function"):
            one.election.lead("work")  # type: ignore[call-overload]
        with self.assertRaisesRegex(InvalidTypeError, "has returned a coroutine, which has not ended; give an `async def` function"):
            one.election.lead(lambda term: work(term))  # type: ignore[unused-coroutine]
        later: concurrent.futures.Future[int] = concurrent.futures.Future()

        class Later:
            def __await__(self) -> Iterator[None]:
                yield

            def cancel(self) -> None:
                later.cancel()

        with self.assertRaisesRegex(InvalidTypeError, "has returned a Later, which has not ended"):
            one.election.lead(lambda term: Later())
        self.assertTrue(later.cancelled())
        self.assertEqual(self.entries(), [])

    def test_work_that_would_hold_an_event_loop_up_is_refused(self) -> None:
        one = self.candidate("one")

        async def ask() -> None:
            loop = asyncio.get_running_loop()
            with self.assertRaisesRegex(InvalidTypeError, "this thread's event loop would stand still"):
                await one.election.lead(lambda term: loop.run_in_executor(None, term.is_lost))

        asyncio.run(ask())
        self.assertFalse(one.election.is_running)

    def test_a_term_is_waited_for_while_the_clock_is_in_doubt(self) -> None:
        one = self.leader("one")
        handle = one.election._run.handle if one.election._run is not None else self.fail()
        ask, doubts = handle.token, [0, 0, 0]
        with mock.patch.object(handle, "token", lambda: doubts.pop() if doubts else ask()):
            self.assertEqual(one.election.lead(lambda term: term.token > 0), True)
        self.assertEqual(doubts, [])

    def test_a_term_is_told_though_the_clock_is_in_doubt_just_then(self) -> None:
        one = self.candidate("one")
        one.start()
        handle = one.election._run.handle if one.election._run is not None else self.fail()
        with mock.patch.object(handle, "token", lambda: 0):
            one.hears(Elected)

    def test_a_close_that_gives_up_leaves_the_turn_to_the_work(self) -> None:
        one = self.leader("one", stop_timeout_ms=100)
        begun, may_end = threading.Event(), threading.Event()

        def work(term: Term) -> None:
            begun.set()
            may_end.wait()

        def lead() -> None:
            with self.assertRaises(OverrunError):
                one.election.lead(work)

        leading = threading.Thread(target=lead)
        leading.start()
        begun.wait()
        with self.assertRaises(BusyError):
            one.election.close()
        with self.assertRaises(BusyError):
            one.election.poll(0)
        may_end.set()
        leading.join()

    def test_a_frozen_process_hears_of_its_loss_from_the_first_question_on(self) -> None:
        child = self.program(f"""
try:
    with Election({self.etcd.url!r}, {self.key!r}, "child", ttl=1).lead() as term:
        say("waits", term.is_lost())
        os.kill(os.getpid(), signal.SIGSTOP)
        say("woke", term.is_lost(), term.lost.is_set(), term.lost.wait(1), term.reason is not None)
except LostError as error:
    say("lost", error.code)
""")
        child.says("waits False")
        self.leader("rival")
        child.signal(signal.SIGCONT)
        child.says("woke True True True")
        child.says("lost EL_(DEADLINE|LEASE_LOST|KEY_LOST)")
        self.ends_promptly(child)

    def test_what_is_lost_while_the_work_ends_after_a_stop_is_told_at_its_end(self) -> None:
        one = self.candidate("one", stop_timeout_ms=20000)
        with self.assertRaises(LostError) as caught:
            with one.election.lead() as term:
                one.election.stop()
                self.assertIsInstance(wait_for("the reason", lambda: term.reason), StoppedError)
                self.etcd.remove_leader(self.key)
                # It is led by the next one, who was told that our key is gone, as we were.
                self.leader("two")
        self.assertEqual((caught.exception.code, one.heard(Ended)[0].code), ("EL_KEY_LOST", "EL_KEY_LOST"))

    def test_what_is_lost_with_etcd_gone_while_the_work_ends_after_a_stop_is_told_at_its_end(self) -> None:
        etcd = self.own_etcd()
        one = self.candidate("one", etcd=etcd, ttl=1, stop_timeout_ms=3000)
        with self.assertRaises(LostError) as caught:
            with one.election.lead():
                one.election.stop()
                etcd.kill()
                # Longer than the lease: no event says when it has run out.
                time.sleep(1.2)
        self.assertEqual(caught.exception.code, "EL_DEADLINE")
        self.assertEqual(one.heard(Ended), [Ended("EL_DEADLINE", caught.exception.message, False)])


class Threads(Case):
    def test_any_thread_may_wait_for_the_loss(self) -> None:
        one = self.candidate("one", ttl=2)
        woken: List[bool] = []
        with self.assertRaises(LostError):
            with one.election.lead() as term:
                waiters = [threading.Thread(target=lambda: woken.append(term.lost.wait(PATIENCE))) for _ in range(4)]
                for waiter in waiters:
                    waiter.start()
                self.etcd.remove_leader(self.key)
                for waiter in waiters:
                    waiter.join(PATIENCE)
        self.assertEqual(woken, [True] * 4)

    def test_a_watcher_that_a_signal_handler_keeps_from_beginning_is_not_waited_for(self) -> None:
        start, interrupted = _thread.start_new_thread, threading.Event()

        def start_new_thread(*arguments: Any) -> int:
            if not interrupted.is_set():
                interrupted.set()
                raise KeyboardInterrupt
            return start(*arguments)

        one = self.candidate("one", ttl=60)
        with mock.patch.object(_thread, "start_new_thread", start_new_thread), self.assertRaises(KeyboardInterrupt):
            one.election.lead(lambda term: self.fail("it was interrupted"))
        self.assertTrue(interrupted.is_set())
        self.assertEqual((self.entries(), one.names()[-1]), ([], "Ended"))

    def test_lead_may_be_used_on_any_thread(self) -> None:
        one = self.candidate("one")
        found: List[int] = []
        for _ in range(3):
            thread = threading.Thread(target=lambda: found.append(one.election.lead(lambda term: term.token)))
            thread.start()
            thread.join(PATIENCE)
        self.assertEqual((len(found), found), (3, sorted(set(found))))


if __name__ == "__main__":
    unittest.main()
