"""How long things live: descriptors and threads, elections that nobody closes, and the end of a process."""

import gc
import os
import select
import threading
import time
import unittest
import warnings
import weakref
from typing import Any, List, Set
from unittest import mock

import support  # noqa: F401
from etcd_leader import Elected, Election, Event, StoppedError, Unelected, load_library
from etcd_leader._handle import Handle
from support.case import Candidate, Case
from support.wait import PATIENCE, PROMPTLY, wait_for


def descriptors() -> Set[str]:
    return set(os.listdir("/proc/self/fd"))


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


class Things(Case):
    def test_a_thousand_starts_and_closes_leave_nothing(self) -> None:
        child = self.program(
            """
def count():
    # Those of the library end a moment after the last close.
    end = time.monotonic() + 5
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < end: time.sleep(0.01)
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
def cycle(times):
    for at in range(times):
        one = Election(sys.argv[1], sys.argv[2], "one")
        one.start()
        # Its descriptor is made by waiting.
        if at % 10 == 0: one.poll(0.001)
        one.close()
cycle(20)
before = count()
cycle(980)
say(before, count())
""",
            self.etcd.url,
            self.key,
        )
        self.assertEqual(child.ends(), 0, str(child))
        self.assertRegex(child.said()[0], r"^\((\d+), 1\) \(\1, 1\)$")
        self.assertEqual(self.entries(), [])

    def test_lead_leaves_nothing(self) -> None:
        one = self.candidate("one")
        one.election.lead(lambda term: None)
        before = len(descriptors()), threads()
        for _ in range(20):
            one.election.lead(lambda term: None)
        wait_for("the library's thread to end", lambda: threads() <= before[1], 5)
        self.assertEqual(len(descriptors()), before[0])

    def test_what_nobody_closes_is_given_up_when_it_is_collected(self) -> None:
        before = len(descriptors())
        election = Election(self.etcd.url, self.key, "one", ttl=60).start()
        while not election.is_leader:
            election.poll()
        gone = weakref.ref(election)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del election
        self.assertEqual([warning.category for warning in caught], [ResourceWarning])
        self.assertRegex(str(caught[0].message), "was never closed; leave its `with`, or call close")
        caught.clear()
        self.assertIsNone(gone())
        wait_for("its place to be given up", lambda: not self.entries(), 5)
        wait_for("its descriptors to be closed", lambda: len(descriptors()) <= before, 5)

    def test_also_with_a_callback_that_knows_it(self) -> None:
        class Owner:
            def __init__(self, url: str, key: str) -> None:
                self.events: List[Event] = []
                self.election = Election(url, key, "one", ttl=60, on_event=self.on_event)

            def on_event(self, event: Event) -> None:
                self.events.append(event)

        owner: Any = Owner(self.etcd.url, self.key)
        owner.election.start()
        while not owner.events:
            owner.election.poll()
        gone = weakref.ref(owner)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            del owner
            gc.collect()
        self.assertIsNone(gone())
        wait_for("its place to be given up", lambda: not self.entries(), 5)

    def abandoned(self, one: Candidate) -> Handle:
        """As after a Ctrl-C that met the end of a `with`: it leaves in the background."""
        run = one.election._run
        assert run is not None
        run.handle.abandon()
        return run.handle

    def test_what_leaves_in_the_background_is_waited_for_by_close(self) -> None:
        etcd = self.own_etcd()
        # Until its lease has run out the place is in doubt, and the library's thread lives.
        one = self.leader("one", etcd=etcd, ttl=2, stop_timeout_ms=1000)
        etcd.freeze()
        begun = time.monotonic()
        self.abandoned(one)
        self.assertFalse(one.election.is_running or one.election.is_leader or one.election.poll(0))
        self.assertEqual(list(one.election), [])
        one.election.close()
        self.assertGreater(time.monotonic() - begun, 0.9)
        one.election.close()

    def test_what_leaves_in_the_background_can_be_started_at_once(self) -> None:
        one = self.leader("one")
        self.abandoned(one)
        one.start().hears(Elected, 2)

    def test_what_leaves_in_the_background_touches_no_descriptor_that_may_be_anybodys(self) -> None:
        one = self.leader("one")
        number = one.election.fileno()
        dll = load_library().dll
        free, is_reused = dll.el_queue_free, threading.Event()

        def el_queue_free(pointer: object) -> object:
            status = free(pointer)
            # It is never readable.
            os.dup2(reader, number)
            is_reused.set()
            time.sleep(0.3)
            return status

        reader, writer = os.pipe()
        with mock.patch.object(dll, "el_queue_free", el_queue_free):
            self.abandoned(one)
            self.assertTrue(is_reused.wait(PATIENCE))
            begun = time.monotonic()
            one.election.close()
            self.assertLess(time.monotonic() - begun, PROMPTLY)
        for descriptor in (reader, writer, number):
            os.close(descriptor)

    def test_what_is_closed_has_no_descriptor(self) -> None:
        one = self.leader("one")
        one.election.close()
        with self.assertRaisesRegex(StoppedError, "was closed"):
            one.election.fileno()

    def test_its_descriptor_is_silent_while_the_work_ends(self) -> None:
        one = self.leader("one")
        one.election.stop()
        while not one.heard(Unelected):
            one.election.poll()
        self.assertFalse(select.select([one.election.fileno()], [], [], 0.1)[0])
        self.assertEqual(self.entries(), ["one"])
        one.election.poll(0)
        self.assertTrue(select.select([one.election.fileno()], [], [], PATIENCE)[0])
        self.assertFalse(one.election.poll())
        self.assertEqual(self.entries(), [])

    def test_what_has_ended_is_collected_without_a_word(self) -> None:
        one = self.leader("one")
        one.election.stop()
        one.ends()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            del one.election
            gc.collect()
            Election(self.etcd.url, self.key, "one")
        one.election = Election(self.etcd.url, self.key, "one")


class Ends(Case):
    """A process that ends with an election that runs: its place is given up, and it ends soon."""

    def ends_with(self, code: str, status: int = 0) -> None:
        child = self.program(f"""
def election(key, **more):
    return Election({self.etcd.url!r}, key, "child", **{{"ttl": 60, "on_event": report, **more}})
key = {self.key!r}
{code}
""")
        child.says("Elected")
        self.ends_promptly(child, status)
        self.assertEqual(self.entries(), [], str(child))
        self.assertNotIn("Traceback", child.errors.replace("Traceback (most recent call last):\n  File \"<string>\"", "", status))

    def test_at_the_end_of_the_program(self) -> None:
        self.ends_with("one = election(key).start()\none.poll()")

    def test_by_sys_exit_in_the_callback(self) -> None:
        self.ends_with("one = election(key, on_event=lambda event: (report(event), sys.exit(3))).start()\none.poll()", 3)

    def test_by_sys_exit_in_the_work_of_lead(self) -> None:
        self.ends_with("one = election(key)\nwith one.lead() as term: sys.exit(3)", 3)

    def test_by_an_exception(self) -> None:
        self.ends_with("one = election(key).start()\none.poll()\nraise KeyError('mine')", 1)

    def test_while_a_daemon_thread_polls(self) -> None:
        self.ends_with("""
one = election(key).start()
def run():
    while one.poll(): pass
threading.Thread(target=run, daemon=True).start()
while not one.is_leader: time.sleep(0.01)
time.sleep(0.1)
""")

    def test_while_a_daemon_thread_leads(self) -> None:
        self.ends_with("""
one = election(key)
leads = threading.Event()
def work(term):
    leads.set()
    term.lost.wait()
    time.sleep(30)
threading.Thread(target=one.lead, args=(work,), daemon=True).start()
leads.wait()
""")

    def test_while_a_daemon_thread_is_in_its_callback(self) -> None:
        self.ends_with("""
leads = threading.Event()
def on_event(event):
    report(event)
    leads.set()
    time.sleep(30)
one = election(key, on_event=on_event).start()
def run():
    while one.poll(): pass
threading.Thread(target=run, daemon=True).start()
leads.wait()
""")

    def test_in_a_cycle_of_garbage(self) -> None:
        self.ends_with("one = election(key).start()\none.poll()\none.me = one\ndel one")

    def test_with_a_hundred_of_them(self) -> None:
        child = self.program(f"""
all = [Election({self.etcd.url!r}, {self.key!r} + f"/{{at}}", "child", ttl=60).start() for at in range(100)]
while not all[-1].is_leader: all[-1].poll(0.01)
say("lead", sum(one.is_leader for one in all))
""")
        child.says("lead")
        self.ends_promptly(child)
        self.assertEqual([self.entries(f"{self.key}/{at}") for at in range(100)], [[]] * 100)

    def test_with_etcd_frozen_or_dead_within_two_seconds(self) -> None:
        for harm in ("freeze", "kill"):
            etcd = self.own_etcd()
            codes = {
                "running": "say('leaves')",
                "stopped": "one.stop()\nsay('leaves')",
                "closed by another thread": "threading.Thread(target=one.close, daemon=True).start()\nsay('leaves')",
                "forgotten": "say('leaves')\nwarnings.simplefilter('ignore')\ndel one",
            }
            children = []
            for at, code in enumerate(codes.values()):
                child = self.program(f"""
one = Election({etcd.url!r}, "/{at}", "child", ttl=60).start()
while not one.is_leader: one.poll()
say("leads")
listen()
{code}
""")
                children.append(child)
            for child in children:
                child.says("leads")
            getattr(etcd, harm)()
            for child in children:
                child.tell("go on")
            for what, child in zip(codes, children):
                with self.subTest(what, harm=harm):
                    # A second of patience, and what the interpreter takes.
                    self.ends_promptly(child)
                    self.assertEqual(child.errors, "")

    def test_killed_its_place_runs_out_with_the_lease(self) -> None:
        child = self.program(f"one = Election({self.etcd.url!r}, {self.key!r}, 'child', ttl=1, on_event=report).start()\nwhile one.poll(): pass")
        child.says("Leader child")
        rival = self.candidate("rival").start()
        child.process.kill()
        self.assertEqual(child.ends(), -9)
        rival.hears(Elected)


if __name__ == "__main__":
    unittest.main()
