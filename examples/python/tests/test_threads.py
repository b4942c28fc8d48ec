"""Threads: one takes events, any asks and stops, and nobody crashes whatever the others do."""

import threading
import time
import unittest
from typing import Any, Callable, List

import support  # noqa: F401
from etcd_leader import BusyError, Elected, Ended, Leader, Unelected
from support.case import Case
from support.wait import PATIENCE, PROMPTLY, wait_for


class Threads(Case):
    def thread(self, work: Callable[..., Any], *arguments: Any) -> threading.Thread:
        made = threading.Thread(target=work, args=arguments, daemon=True)
        made.start()
        self.addCleanup(made.join, PATIENCE)
        return made

    def test_one_at_a_time_polls_and_any_stops(self) -> None:
        one = self.candidate("one").start()
        thread = self.thread(one.ends)
        wait_for("the lead", lambda: one.heard(Leader))
        for use in (lambda: one.election.poll(0), lambda: next(iter(one.election)), lambda: one.election.lead(lambda term: None)):
            with self.assertRaisesRegex(BusyError, "being polled: by another thread"):
                use()
        self.assertTrue(one.election.is_leader)
        one.election.stop()
        self.assertFalse(one.election.is_leader)
        thread.join(PATIENCE)
        self.assertEqual(one.names(), ["Elected", "Leader", "Unelected", "Ended"])
        self.assertFalse(one.election.poll())

    def test_it_is_busy_inside_its_own_callback(self) -> None:
        one = self.candidate("one")
        busy: List[str] = []

        def also(event: object) -> None:
            for use in (lambda: one.election.poll(0), one.election.close, lambda: one.election.lead(lambda term: None)):
                try:
                    use()
                except BusyError as error:
                    busy.append(error.code)

        one.also = also
        one.start().hears(Leader)
        self.assertEqual(busy, ["EL_BUSY"] * 6)
        self.assertTrue(one.election.is_leader)

    def test_leaving_waits_for_the_thread_that_polls(self) -> None:
        one = self.candidate("one")
        with one.election:
            thread = self.thread(one.ends)
            wait_for("the lead", lambda: one.heard(Leader))
        thread.join(PROMPTLY)
        self.assertFalse(thread.is_alive())
        self.assertEqual(one.names(), ["Elected", "Leader", "Unelected", "Ended"])
        self.assertEqual(self.entries(), [])

    def test_closing_while_another_thread_iterates_ends_its_loop(self) -> None:
        one = self.leader("one")
        events: List[object] = []
        thread = self.thread(lambda: events.extend(one.election))
        one.election.close()
        thread.join(PROMPTLY)
        self.assertFalse(thread.is_alive())
        self.assertEqual(self.entries(), [])

    def test_leaving_does_not_wait_for_ever_for_a_callback_that_hangs(self) -> None:
        hangs, may_end = threading.Event(), threading.Event()
        self.addCleanup(may_end.set)
        one = self.candidate("one", ttl=2, stop_timeout_ms=100)

        def also(event: object) -> None:
            if isinstance(event, Unelected):
                hangs.set()
                may_end.wait(PATIENCE)

        one.also = also
        with self.assertRaises(BusyError):
            with one.election:
                thread = self.thread(one.ends)
                wait_for("the lead", lambda: one.heard(Elected))
        self.assertTrue(hangs.is_set())
        self.assertEqual(self.entries(), ["one"])
        may_end.set()
        thread.join(PATIENCE)
        self.assertEqual([event.code for event in one.heard(Ended)], ["EL_OK"])
        self.assertEqual(self.entries(), [])

    def test_started_by_many_threads_at_once_it_is_one(self) -> None:
        one = self.candidate("one")
        barrier = threading.Barrier(8)

        def start() -> None:
            barrier.wait(PATIENCE)
            one.election.start()

        for thread in [self.thread(start) for _ in range(8)]:
            thread.join(PATIENCE)
        one.hears(Leader)
        self.assertEqual(self.entries(), ["one"])

    def test_asking_while_it_comes_and_goes(self) -> None:
        """Questions and stops at any moment: nothing is asked of what was freed."""
        one = self.candidate("one")
        over = threading.Event()
        faults: List[BaseException] = []

        def ask() -> None:
            try:
                while not over.is_set():
                    for value in (one.election.is_leader, one.election.token, one.election.time_left, one.election.leader, repr(one.election)):
                        self.assertIsNotNone(repr(value))
            except BaseException as fault:
                faults.append(fault)

        threads = [self.thread(ask) for _ in range(4)]
        end = time.monotonic() + 3
        rounds = 0
        while time.monotonic() < end:
            one.start()
            if rounds % 3 == 0:
                one.hears(Elected, len(one.heard(Elected)) + 1)
            if rounds % 2 == 0:
                one.election.stop()
            one.election.close()
            rounds += 1
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(faults, [])
        self.assertGreater(rounds, 10)

    def test_many_elections_are_polled_by_one_thread_through_their_descriptors(self) -> None:
        import selectors

        elections = [self.candidate("one", key=f"{self.key}/{at}").start() for at in range(50)]
        with selectors.DefaultSelector() as selector:
            for one in elections:
                selector.register(one.election, selectors.EVENT_READ, one)
            while not all(one.heard(Leader) for one in elections):
                for key, _ in selector.select(PATIENCE):
                    key.data.election.poll(0)
            for one in elections:
                one.election.stop()
            running = len(elections)
            while running:
                for key, _ in selector.select(PATIENCE):
                    goes_on = key.data.election.poll(0)
                    # There is no work that would have to end: the next poll says so.
                    if goes_on and key.data.heard(Unelected):
                        goes_on = key.data.election.poll(0)
                    if not goes_on:
                        selector.unregister(key.data.election)
                        running -= 1
        self.assertEqual({tuple(one.names()) for one in elections}, {("Elected", "Leader", "Unelected", "Ended")})


if __name__ == "__main__":
    unittest.main()
