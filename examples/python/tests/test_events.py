"""What a candidate is told, in which order, and when its place goes; on both APIs."""

import signal
import unittest
from time import monotonic
from typing import Any, Callable, List, Optional, TypeVar
from unittest import mock

import support  # noqa: F401
from etcd_leader import Effective, Elected, Ended, Event, Leader, Recovered, Retrying, StoppedError, Unelected, load_library
from support.case import Case
from support.etcd import Ports
from support.wait import wait_for

T = TypeVar("T")


class OnV3(Case):
    def test_one_after_the_other(self) -> None:
        one = self.candidate("one")
        self.assertFalse(one.election.is_running)
        one.start()
        self.assertTrue(one.election.is_running)
        first = one.hears(Elected)
        one.hears(Leader)
        self.assertEqual(one.log[0].event, first)
        self.assertEqual(one.log[1].event, Leader("one", first.token))
        self.assertTrue(one.election.is_leader)
        self.assertEqual((one.election.token, one.election.leader), (first.token, "one"))
        self.assertTrue(0 < one.election.time_left <= 4)
        self.assertEqual(one.election.settings, Effective(5.0, 5.0, 2500, 1000, 750, 5000))

        two = self.candidate("two").start()
        self.assertEqual(two.hears(Leader), Leader("one", first.token))
        self.assertFalse(two.election.is_leader)
        self.assertEqual((two.election.token, two.election.time_left, two.election.leader), (None, 0.0, "one"))
        self.assertEqual(self.entries(), ["one", "two"])

        one.election.stop()
        self.assertFalse(one.election.is_leader or one.election.is_running)
        self.assertEqual((one.election.token, one.election.time_left), (None, 0.0))
        one.ends()
        self.assertEqual(one.names(), ["Elected", "Leader", "Unelected", "Ended"])
        self.assertEqual(one.heard(Unelected)[0].code, "EL_STOPPED")
        self.assertEqual(one.heard(Ended), [Ended("EL_OK", "", True)])
        second = two.hears(Elected)
        self.assertGreater(second.token, first.token)
        self.assertFalse(one.election.poll())

    def test_the_place_is_kept_until_the_next_poll_after_unelected(self) -> None:
        one = self.leader("one", ttl=4, renew_ms=400)
        two = self.candidate("two", ttl=5).start()
        two.hears(Leader)
        one.election.stop()
        while not one.heard(Unelected):
            self.assertTrue(one.election.poll())
        # Longer than the lease: it is renewed.
        two.election.poll(5)
        self.assertEqual((two.heard(Elected), self.entries()), ([], ["one", "two"]))
        one.ends()
        two.hears(Elected)
        self.assertEqual(self.entries(), ["two"])

    def test_the_place_is_kept_for_stop_timeout_ms_if_nobody_comes_and_the_end_tells(self) -> None:
        one = self.leader("one", stop_timeout_ms=300)
        two = self.candidate("two").start()
        two.hears(Leader)
        begun = monotonic()
        one.election.stop()
        two.hears(Elected)
        self.assertGreaterEqual(monotonic() - begun, 0.3)
        one.ends()
        self.assertEqual([event.code for event in one.heard(Unelected)], ["EL_OVERRUN"])
        self.assertEqual([(event.code, event.released) for event in one.heard(Ended)], [("EL_OVERRUN", True)])

    def test_what_is_lost_while_the_work_ends_is_told_by_the_end(self) -> None:
        one = self.leader("one")
        one.election.stop()
        while not one.heard(Unelected):
            self.assertTrue(one.election.poll())
        self.assertEqual(one.heard(Unelected)[0].code, "EL_STOPPED")
        self.etcd.remove_leader(self.key, self.api)
        # The next one was told that our key is gone, as we were.
        self.leader("two")
        one.ends()
        self.assertEqual([event.code for event in one.heard(Ended)], ["EL_KEY_LOST"])

    def test_who_waits_and_stops_gives_its_place_up_at_once(self) -> None:
        self.leader("one")
        two = self.candidate("two").start()
        two.hears(Leader)
        two.election.stop()
        two.ends()
        self.assertEqual((two.names(), self.entries()), (["Leader", "Ended"], ["one"]))
        self.assertEqual((two.heard(Ended)[0].code, two.heard(Ended)[0].released), ("EL_STOPPED", True))

    def test_a_lost_key_is_told_and_it_joins_again(self) -> None:
        one = self.leader("one", ttl=2)
        two = self.candidate("two", ttl=2).start()
        two.hears(Leader)
        self.etcd.remove_leader(self.key, self.api)
        self.assertEqual(one.hears(Unelected).code, "EL_KEY_LOST")
        token = two.hears(Elected).token
        while one.election.leader != "two":
            one.election.poll(1)
        two.election.close()
        self.assertGreater(one.hears(Elected, 2).token, token)
        terms = [name for name in one.names() if "lected" in name]
        self.assertEqual(terms, ["Elected", "Unelected", "Elected"])

    def test_it_can_be_started_again(self) -> None:
        one = self.leader("one")
        one.election.stop()
        one.ends()
        token = one.start().hears(Elected, 2).token
        self.assertGreater(token, one.heard(Elected)[0].token)
        one.election.close()
        self.assertGreater(one.start().hears(Elected, 3).token, token)

    def test_closing_gives_the_place_up_and_tells_nobody(self) -> None:
        one = self.leader("one")
        one.election.close()
        self.assertEqual(self.entries(), [])
        self.assertNotIn("Unelected", one.names())
        self.assertFalse(one.election.poll())
        self.assertFalse(one.election.is_leader or one.election.is_running)
        one.election.close()

    def test_a_with_block_tells_what_is_left(self) -> None:
        one = self.candidate("one")
        with one.election as election:
            self.assertIs(election, one.election)
            one.hears(Elected)
            self.assertEqual(self.entries(), ["one"])
        self.assertEqual(one.names()[-2:], ["Unelected", "Ended"])
        self.assertEqual(self.entries(), [])
        with self.assertRaisesRegex(KeyError, "mine"), one.election:
            raise KeyError("mine")

    def test_a_for_loop_ends_with_the_election(self) -> None:
        one = self.candidate("one")
        events: List[Event] = []
        with one.election:
            for event in one.election:
                events.append(event)
                if isinstance(event, Leader):
                    one.election.stop()
                if isinstance(event, Unelected):
                    # The loop has not come back yet.
                    self.assertEqual(self.entries(), ["one"])
        self.assertEqual([type(event).__name__ for event in events], ["Elected", "Leader", "Unelected", "Ended"])
        self.assertEqual([entry.event for entry in one.log], events)
        self.assertEqual(list(one.election), [])

    def test_while_it_hears_that_its_term_is_over_it_sees_no_next_one(self) -> None:
        seen = []
        one = self.leader("one", ttl=2)
        one.also = lambda event: seen.append((type(event), one.election.is_leader, one.election.token))
        self.etcd.remove_leader(self.key, self.api)
        wait_for("the end of the term", lambda: not one.election.is_leader)
        wait_for("its next entry", lambda: self.entries() == ["one"])
        self.assertFalse(one.election.is_leader)
        one.hears(Elected, 2)
        self.assertIn((Unelected, False, None), seen)
        self.assertTrue(one.election.is_leader)

    def test_what_the_callback_raises_is_raised_by_poll_and_nothing_is_lost(self) -> None:
        def also(event: Event) -> None:
            raise KeyError(type(event).__name__)

        one = self.candidate("one", also=also).start()
        raised: List[BaseException] = []
        while len(one.log) < 2:
            with self.assertRaises(KeyError) as caught:
                while one.election.poll(0.5):
                    pass
            raised.append(caught.exception)
        self.assertEqual(one.names(), ["Elected", "Leader"])
        # Of two that were told by one call the last is raised, and shows the first.
        last = raised[-1]
        self.assertEqual(last.args, ("Leader",))
        first = raised[0] if len(raised) > 1 else last.__context__
        self.assertEqual(first and first.args, ("Elected",))
        one.election.stop()
        with self.assertRaisesRegex(KeyError, "Unelected"):
            one.ends()
        self.assertEqual(self.entries(), ["one"])
        with self.assertRaisesRegex(KeyError, "Ended"):
            one.ends()
        self.assertFalse(one.election.poll())
        self.assertEqual(self.entries(), [])

    def test_an_event_is_not_lost_if_a_signal_handler_raises_when_it_was_taken(self) -> None:
        dll = load_library().dll
        take, raised = dll.el_queue_next, [0]

        def el_queue_next(*arguments: Any) -> Any:
            status = take(*arguments)
            if status == 1:
                raised[0] += 1
                raise KeyboardInterrupt
            return status

        def until_it_is_told(do: Callable[[], T]) -> T:
            while True:
                try:
                    return do()
                except KeyboardInterrupt:
                    pass

        one = self.candidate("one")
        with mock.patch.object(dll, "el_queue_next", el_queue_next):
            one.start()
            events: List[Optional[Event]] = []
            while not one.heard(Ended):
                events.append(until_it_is_told(lambda: next(iter(one.election))))
                if len(events) == 2:
                    one.election.stop()
                    # It has not come back from the end of its term: the place is kept.
                    until_it_is_told(lambda: one.election.poll())
                    self.assertEqual((one.names()[2:], self.entries()), (["Unelected"], ["one"]))
        self.assertEqual((one.names(), raised), (["Elected", "Leader", "Unelected", "Ended"], [4]))
        self.assertEqual([type(event).__name__ for event in events], ["Elected", "Leader", "Ended"])

    def test_who_was_interrupted_in_the_callback_has_not_ended_the_work_that_it_began(self) -> None:
        def also(event: Event) -> None:
            if isinstance(event, Elected):
                raise KeyboardInterrupt

        one = self.leader("one", ttl=2)
        one.also = also
        self.etcd.remove_leader(self.key, self.api)
        with self.assertRaises(KeyboardInterrupt):
            one.ends()
        one.election.stop()
        self.assertTrue(one.election.poll())
        self.assertEqual((one.names()[-1], self.entries()), ("Unelected", ["one"]))
        one.ends()
        self.assertEqual([event.code for event in one.heard(Ended)], ["EL_OK"])
        self.assertEqual(self.entries(), [])

    def test_a_term_that_was_taken_and_is_over_is_not_told(self) -> None:
        one = self.candidate("one", ttl=2).start()
        run = one.election._run
        assert run is not None
        while not isinstance(run.handle.peek(), Elected):
            run.handle.drop()
            run.handle.wait()
        # As if a signal handler had raised when it was taken.
        self.etcd.remove_leader(self.key, self.api)
        wait_for("its end", lambda: not one.election.is_leader)
        one.election.stop()
        one.ends()
        self.assertEqual(one.names(), ["Unelected", "Ended"])

    def test_nobody_polls_what_was_not_started(self) -> None:
        one = self.candidate("one")
        for use in (one.election.poll, one.election.fileno, lambda: list(one.election)):
            with self.assertRaisesRegex(StoppedError, "not started; call start"):
                use()
        one.election.stop()
        one.election.close()
        self.assertEqual((one.election.is_leader, one.election.token, one.election.leader), (False, None, None))


class OnV2(OnV3):
    api = "v2"


class Trouble(Case):
    def test_what_cannot_be_reached_is_told_and_then_that_it_is_over(self) -> None:
        etcd = self.own_etcd()
        one = self.candidate("one", etcd=etcd, ttl=1)
        etcd.kill()
        one.start()
        first = one.hears_trouble()
        self.assertEqual((first.code, first.endpoint), ("EL_UNREACHABLE", etcd.url))
        self.assertIn("refused", first.message)
        etcd.restart()
        one.hears(Recovered)
        one.hears(Elected)
        self.assertNotIn("Ended", one.names())

    def test_a_frozen_etcd_ends_the_lead_by_our_own_clock(self) -> None:
        etcd = self.own_etcd()
        one = self.leader("one", etcd=etcd, ttl=2)
        etcd.freeze()
        self.assertEqual(one.hears(Unelected).code, "EL_DEADLINE")
        self.assertFalse(one.election.is_leader)
        etcd.thaw()
        one.hears(Elected, 2)

    def test_what_cannot_go_on_is_told_once_and_is_over(self) -> None:
        etcd = self.own_etcd("--enable-v2=false")
        one = self.candidate("one", etcd=etcd, api="v2")
        running = []
        one.also = lambda event: running.append(one.election.is_running)
        self.assertEqual(one.start().hears(Ended).code, "EL_UNSUPPORTED")
        self.assertFalse(running[-1])
        self.assertFalse(one.election.poll())
        self.assertFalse(one.election.is_running)
        self.assertEqual(one.names().count("Ended"), 1)
        # It can be started again, also by the callback.
        one.also = lambda event: one.start() if len(one.heard(Ended)) < 4 else None
        one.start().hears(Ended, 4)

    def test_a_timeout_is_kept(self) -> None:
        nobody = Ports(1)
        self.addCleanup(nobody.close)
        one = self.candidate("one", endpoints=f"http://127.0.0.1:{nobody.numbers[0]}", ttl=300).start()
        one.hears(Retrying)
        begun = monotonic()
        self.assertTrue(one.election.poll(0))
        self.assertLess(monotonic() - begun, 5, "nothing else ends it")
        begun = monotonic()
        self.assertTrue(one.election.poll(0.7))
        self.assertTrue(0.7 <= monotonic() - begun < 5)

    def test_a_frozen_process_hears_the_truth_from_its_first_question_on(self) -> None:
        child = self.program(f"""
election = Election({self.etcd.url!r}, {self.key!r}, "child", ttl=1, on_event=report).start()
while not election.is_leader or not election.poll(0.05): pass
say("waits", election.is_leader)
listen()
say("woke", election.is_leader, election.token, election.time_left)
while election.poll(): pass
""")
        child.says("waits True")
        rival = self.candidate("rival").start()
        rival.hears(Leader)
        child.signal(signal.SIGSTOP)
        rival.hears(Elected)
        child.tell("go on")
        child.signal(signal.SIGCONT)
        child.says("Leader rival")
        said = child.said()
        self.assertEqual(said[said.index("woke False None 0.0") + 1].split()[0], "Unelected")
        self.assertTrue(rival.election.is_leader)


if __name__ == "__main__":
    unittest.main()
