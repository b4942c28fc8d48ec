"""Ctrl-C and other signals: wherever Python waits for an election, and whatever the handler does."""

import random
import signal
import sys
import unittest

import support  # noqa: F401
from support.case import Case
from support.child import Child
from support.wait import PROMPTLY

#: How each program waits; all say "waits" before, and then do so for ever.
WAITS = {
    "poll": "while election.poll(): say('waits')",
    "poll with a timeout": "say('waits')\nwhile election.poll(3600): pass",
    "for": "for event in election: say('waits')",
    "lead": "say('waits')\nwith election.lead(): pass",
}

#: So long that no end of a slice can be what the signal was heard by.
LONG_SLICES = """
from etcd_leader import _handle, _lead, _term
for module in (_handle, _lead, _term):
    module.SLICE_S = 30.0
"""


class CtrlC(Case):
    def candidate_program(self, code: str, etcd: str = "", options: str = "ttl=5") -> Child:
        return self.program(
            f"election = Election({etcd or self.etcd.url!r}, {self.key!r}, 'child', {options}, on_event=report)\n{code}",
            etcd or self.etcd.url,
            self.key,
        )

    def test_in_every_wait(self) -> None:
        rival = self.leader("rival")
        for what, wait in WAITS.items():
            with self.subTest(what):
                waiting = "\n".join(f"        {line}" for line in wait.splitlines())
                start = "" if what == "lead" else "election.start()\n"
                child = self.candidate_program(f"{LONG_SLICES}{start}try:\n    try:\n{waiting}\n    finally:\n        election.close()\nexcept KeyboardInterrupt:\n    say('interrupted')")
                child.says("waits")
                child.says("Leader rival")
                child.waits()
                sent = child.signal(signal.SIGINT)
                self.assertLess(child.says("interrupted").at - sent, PROMPTLY)
                self.ends_promptly(child)
                self.assertEqual(self.entries(), ["rival"])
        rival.election.close()

    def test_in_a_start_that_goes_on_while_the_process_ends(self) -> None:
        child = self.candidate_program("""
dll = load_library().dll
real = dll.el_start
def el_start(*arguments):
    status = real(*arguments)
    say("begun", status)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.3)
    return status
dll.el_start = el_start
try:
    election.start()
except KeyboardInterrupt:
    say("interrupted")
""")
        child.says("begun 0")
        child.says("interrupted")
        self.ends_promptly(child)
        self.assertEqual((self.entries(), child.errors), ([], ""))

    def test_in_the_work_of_lead(self) -> None:
        child = self.candidate_program("""
try:
    with election.lead() as term:
        say("leads")
        term.lost.wait()
except KeyboardInterrupt:
    say("interrupted", election.is_running)
""")
        child.says("leads")
        sent = child.signal(signal.SIGINT)
        self.assertLess(child.says("interrupted False").at - sent, PROMPTLY)
        self.assertEqual(self.entries(), [])
        self.ends_promptly(child)

    def test_twice_while_etcd_is_frozen_it_ends_at_once(self) -> None:
        etcd = self.own_etcd()
        child = self.candidate_program("""
try:
    with election.lead() as term:
        say("leads")
        term.lost.wait()
except KeyboardInterrupt:
    say("interrupted")
""", etcd.url, "ttl=60")
        child.says("leads")
        etcd.freeze()
        child.signal(signal.SIGINT)
        child.says("Unelected EL_STOPPED")
        sent = child.signal(signal.SIGINT)
        self.assertLess(child.says("interrupted").at - sent, PROMPTLY)
        # The place is given up in the background for a second, and then by the lease.
        self.ends_promptly(child)

    def test_a_handler_that_stops_ends_it_in_order(self) -> None:
        for what, wait in WAITS.items():
            with self.subTest(what):
                child = self.candidate_program(f"""
signal.signal(signal.SIGTERM, lambda *_: (election.stop(), say("stopped", election.is_leader)))
{"election.start()" if what != "lead" else ""}
{wait if what != "lead" else '''
try:
    with election.lead() as term:
        say("waits")
        term.lost.wait()
finally: pass
'''}
say("over")
election.close()
""")
                child.says("waits")
                child.says("Elected")
                if what != "lead":
                    child.says("Leader child")
                sent = child.signal(signal.SIGTERM)
                child.says("stopped False")
                self.assertLess(child.says("over").at - sent, PROMPTLY)
                self.ends_promptly(child)
                self.assertIn("Unelected EL_STOPPED the election was asked to stop", child.said())
                self.assertEqual(self.entries(), [])

    def test_a_signal_that_another_thread_catches_is_handled_within_half_a_second(self) -> None:
        waits = (
            "with election:\n        while election.poll(): say('waits')",
            "with election.lead() as term:\n        say('waits')\n        term.lost.wait()",
        )
        for wait in waits:
            child = self.candidate_program(f"""
def sleep():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGINT}})
    time.sleep(60)
threading.Thread(target=sleep, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGINT}})
try:
    {wait}
except KeyboardInterrupt:
    say("interrupted")
""")
            child.says("Elected")
            child.says("waits")
            sent = child.signal(signal.SIGINT)
            self.assertLess(child.says("interrupted").at - sent, 0.5 + PROMPTLY)
            self.ends_promptly(child)

    def test_a_handler_that_does_nothing_ends_no_wait(self) -> None:
        child = self.candidate_program("""
signal.signal(signal.SIGUSR1, lambda *_: say("handled"))
election.start()
for event in election:
    say("waits")
""")
        child.says("waits", 2)
        for count in range(1, 6):
            child.signal(signal.SIGUSR1)
            child.says("handled", count)
        self.assertEqual(sum(line.startswith("waits") for line in child.said()), 2)

    @unittest.skipIf(sys.version_info < (3, 11), "CPython 3.9 and 3.10 may leave a lock locked whose `with` a handler interrupts")
    def test_at_any_moment_nothing_hangs_and_nothing_is_left(self) -> None:
        """Signals rain while terms come and go. What a handler raises is raised where the program is, and nowhere else."""
        child = self.candidate_program("""
class Rain(Exception): pass
drops = rained = 0
def handler(*_):
    global drops, rained
    if drops:
        drops -= 1
        rained += 1
        raise Rain
def again(do):
    # Until it was done. Each time up to two drops fall: one into it, and one into its being left. The second one may fall
    # where the first is caught, and is caught outside of that; then no drop is left.
    global drops
    while True:
        try:
            try:
                drops = 2
                if not is_busy(do):
                    drops = 0
                    return
                # It was stopped, and then interrupted. Not in the `except` clause: there the frames of what was interrupted live.
                election.close()
                drops = 0
            except Rain:
                drops = 0
        except Rain:
            pass
def is_busy(do):
    try:
        do()
    except BusyError:
        return True
    return False
def one_term():
    with election.lead() as term: pass
def one_run():
    election.start()
    while election.poll(0.1):
        if election.is_leader: election.stop()
    election.close()
def one_block():
    with election:
        for event in election:
            if election.is_leader: return
election = Election(sys.argv[1], sys.argv[2], "child", ttl=5)
signal.signal(signal.SIGUSR1, handler)
say("waits")
for round in range(20):
    for do in (one_term, one_run, one_block):
        again(do)
again(election.close)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
say("over", rained)
""")
        child.says("waits")
        seed = random.randrange(2**32)
        rain = random.Random(seed)
        for _ in range(400):
            if child.process.poll() is None:
                child.signal(signal.SIGUSR1)
            signal.sigtimedwait([], rain.random() * 0.02)
        # Now it dries.
        self.assertEqual(child.ends(), 0, f"seed {seed}:\n{child}")
        # Python itself ignores exceptions of a handler in a finalizer; no other is ignored.
        ignored = [line for line in child.errors.splitlines() if line.startswith("Exception ignored")]
        self.assertEqual([line for line in ignored if "__del__" not in line], [])
        self.assertEqual(self.entries(), [])


if __name__ == "__main__":
    unittest.main()
