"""Forks: a child never leads by what it has inherited, never hangs, and may start elections of its own; the parent goes on."""

import signal
import textwrap
import unittest

from support import PYTHON
from support.case import Case
from support.child import Child


class Forks(Case):
    def forking(self, code: str) -> Child:
        """`election` runs and leads; `ended(pid)` gives a child's status."""
        return self.program(f"""
warnings.simplefilter("ignore", DeprecationWarning)
def ended(pid):
    return os.WEXITSTATUS(os.waitpid(pid, 0)[1])
def own(name):
    return Election({self.etcd.url!r}, {self.key!r} + "/" + name, name, ttl=5, on_event=report)
election = Election({self.etcd.url!r}, {self.key!r} + "/parent", "parent", ttl=5, renew_ms=300, on_event=report)
election.start()
while not election.is_leader or not election.poll(0.05): pass
{code}
""")

    def test_everything_that_a_child_can_call(self) -> None:
        child = self.forking("""
iterator, fd = iter(election), election.fileno()
pid = os.fork()
if pid == 0:
    say("child", election.is_leader, election.token, election.time_left, election.leader, election.is_running)
    for use in (election.poll, election.fileno, lambda: next(iterator), lambda: next(iter(election))):
        try: use()
        except ForkedError as error: say(error)
    election.stop()
    election.close()
    with election: pass
    say(repr(election))
    sys.exit(7)
say("status", ended(pid))
# Longer than the lease: the parent is renewed.
end = time.monotonic() + 5.5
while time.monotonic() < end: election.poll(0.1)
say("leads", election.is_leader)
election.close()
""")
        child.says("child False None 0.0 None False")
        child.says("EL_FORKED: this election runs in the parent process; start a new one in the child", 4)
        child.says("status 7")
        child.says("leads True")
        self.ends_promptly(child)

    def test_a_child_ends_whatever_way_it_takes(self) -> None:
        child = self.forking("""
import gc
def fork(work):
    pid = os.fork()
    if pid: return ended(pid)
    signal.alarm(20)
    try:
        work()
    finally:
        sys.stdout.flush()
def collected():
    global election
    election = None
    gc.collect()
    sys.exit(1)
statuses = [fork(work) for work in (lambda: sys.exit(1), lambda: os._exit(1), collected)]
say("ended", statuses)
# Inside the blocks, which the children leave.
with own("inside") as inside:
    inside.poll()
    if os.fork() == 0:
        sys.exit(2)
    say("ended", os.WEXITSTATUS(os.wait()[1]))
with own("leads").lead() as term:
    if os.fork() == 0:
        say("child", term.is_lost(), term.lost.wait(5))
        sys.exit(3)
    say("ended", os.WEXITSTATUS(os.wait()[1]), term.is_lost())
say("leads", election.is_leader)
election.close()
""")
        child.says(r"ended \[1, 1, 1\]")
        child.says("ended 2")
        child.says("child True True")
        child.says("ended 3 False")
        child.says("leads True")
        self.ends_promptly(child)

    def test_a_child_has_elections_of_its_own(self) -> None:
        child = self.forking("""
pid = os.fork()
if pid == 0:
    with own("child").lead() as term:
        say("child leads", election.is_leader)
    # The one that it has inherited can be started, too: it is another one then.
    election.start()
    while not election.leader: election.poll()
    say("child follows", election.leader, election.is_leader)
    election.close()
    grandchild = os.fork()
    if grandchild == 0:
        with own("grandchild").lead() as term: say("grandchild leads")
        sys.exit(5)
    sys.exit(ended(grandchild))
say("status", ended(pid))
say("leads", election.is_leader)
election.close()
""")
        child.says("child leads False")
        child.says("child follows parent False")
        child.says("grandchild leads")
        child.says("status 5")
        child.says("leads True")
        self.ends_promptly(child)

    def test_the_parent_misses_no_event_while_children_come_and_go(self) -> None:
        child = self.forking("""
terms = 0
say("ready")
while True:
    pid = os.fork()
    if pid == 0:
        try: election.poll(0)
        except ForkedError: os._exit(0)
    if ended(pid): break
    election.poll(0.02)
""")
        child.says("ready")
        for term in range(1, 6):
            child.says("Elected", term)
            self.etcd.remove_leader(f"{self.key}/parent")
            child.says("Unelected EL_KEY_LOST", term)
        child.says("Elected", 6)
        self.assertIsNone(child.process.poll())

    def test_while_other_threads_poll_ask_and_start(self) -> None:
        child = self.forking("""
over = threading.Event()
def ask():
    while not over.is_set(): election.is_leader, election.leader
def start_and_close():
    one = own("restless")
    while not over.is_set():
        one.start()
        one.close()
def poll():
    while election.poll(): pass
threads = [threading.Thread(target=work) for work in (ask, start_and_close, poll)]
for thread in threads: thread.start()
for round in range(40):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        assert not election.is_leader and election.leader is None
        election.stop()
        election.close()
        if round % 8 == 0:
            with own(f"own-{round}").lead(): pass
        sys.exit(0)
    if ended(pid): say("failed")
over.set()
election.stop()
for thread in threads: thread.join()
say("over")
""")
        child.says("over")
        self.assertNotIn("failed", child.said())
        self.ends_promptly(child)

    def test_forked_by_a_signal_handler_in_the_middle_of_a_wait(self) -> None:
        for wait in ("election.poll()", "next(iter(election))", "own('leads').lead(lambda term: (say('leads'), term.lost.wait()))"):
            with self.subTest(wait):
                child = self.forking(f"""
parent = os.getpid()
def handler(*_):
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        return
    say("ended", ended(pid))
    os._exit(0)
signal.signal(signal.SIGUSR1, handler)
election.poll(0.1)
say("waits")
try:
    {wait}
    while True: election.poll()
except (ForkedError, StoppedError) as error:
    say("child", error.code)
finally:
    sys.stdout.flush()
    os._exit(8)
""")
                child.says("waits")
                if "lead" in wait:
                    child.says("leads")
                child.signal(signal.SIGUSR1)
                child.says("ended 8")
                self.assertIn("child EL_FORKED", child.said())

    def test_forked_by_a_signal_handler_while_the_library_is_called(self) -> None:
        child = self.forking("""
dll = load_library().dll
real = dll.el_queue_next
def el_queue_next(*arguments):
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.3)
    return real(*arguments)
def handler(*_):
    dll.el_queue_next = real
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        return
    say("ended", ended(pid))
signal.signal(signal.SIGUSR1, handler)
election.poll(0.1)
dll.el_queue_next = el_queue_next
election.stop()
try:
    while election.poll(): pass
    say("over")
    election.close()
except ForkedError as error:
    say("child", error.code)
    os._exit(8)
""")
        child.says("child EL_FORKED")
        child.says("ended 8")
        child.says("over")
        self.ends_promptly(child)

    def test_forked_in_an_event_loop_the_parent_hears_on(self) -> None:
        child = self.forking("""
election.close()
import asyncio
async def main():
    async with own("loop") as one:
        async for event in one:
            if isinstance(event, Leader) and event.name: break
        async def consume():
            async for event in one: pass
        task = asyncio.ensure_future(consume())
        await asyncio.sleep(0.05)
        pid = os.fork()
        if pid == 0:
            # It drops what it has inherited.
            signal.alarm(20)
            task.cancel()
            try: await task
            except (asyncio.CancelledError, ForkedError): pass
            sys.stdout.flush()
            os._exit(4)
        say("ended", ended(pid))
        listen()
        await task
asyncio.run(main())
""")
        child.says("ended 4")
        self.etcd.remove_leader(f"{self.key}/loop")
        child.tell("go on")
        child.says("Unelected EL_KEY_LOST")
        child.says("Elected", 3)


class Multiprocessing(Case):
    """The functions that the children run are in a module, as spawn wants it."""

    def parent(self, method: str, program: str) -> Child:
        """Runs a program with `url`, `key`, and the `context` of this way of starting a child."""
        return self.program(
            f"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
warnings.simplefilter("ignore", DeprecationWarning)
sys.path.insert(0, {str(PYTHON / "tests")!r})
from support.workers import lead_and_return, work
if __name__ == "__main__":
    url, key, context = {self.etcd.url!r}, {self.key!r} + {method!r}, multiprocessing.get_context({method!r})
{textwrap.indent(program, "    ")}"""
        )

    def test_with_each_way_of_starting(self) -> None:
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method):
                child = self.parent(
                    method,
                    f"""
with Election(url, key, "parent", ttl=10) as election:
    while not election.is_leader: election.poll()
    with context.Pool(3) as pool:
        say("workers", pool.starmap(work, [(url, key, f"worker-{{at}}") for at in range(6)]))
    process = context.Process(target=work, args=(url, key, "alone"))
    process.start()
    process.join()
    say("status", process.exitcode, election.is_leader)
    try: context.Process(target=print, args=(election,)).start() if {method!r} != "fork" else election.__reduce__()
    except TypeError as error: say(error)
""",
                )
                said = child.says("workers").text
                self.assertEqual(said, f"workers {[(True, 'parent')] * 6}")
                child.says("status 0 True")
                child.says("an election belongs to its process; make a new one in the other")
                self.ends_promptly(child, within=5)

    def test_a_child_that_ends_gives_its_place_up_at_once(self) -> None:
        """Such children leave by os._exit, so that atexit is not enough. The lease would be kept for a minute."""
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method):
                child = self.parent(
                    method,
                    """
process = context.Process(target=lead_and_return, args=(url, key + "-process"))
process.start()
process.join()
with ProcessPoolExecutor(1, mp_context=context) as pool:
    say("led", process.exitcode, pool.submit(lead_and_return, url, key + "-pool").result())
for kind in "process", "pool":
    with Election(url, key + "-" + kind, "next", ttl=5) as following:
        while not following.is_leader: following.poll()
say("next")
""",
                )
                child.says("led 0 True")
                child.says("next", patience=30)
                self.ends_promptly(child, within=5)


class Prefork(Case):
    def test_a_preloading_server(self) -> None:
        """As gunicorn --preload does it: the application, with an election that runs, is loaded before the workers are forked."""
        child = self.program(f"""
warnings.simplefilter("ignore", DeprecationWarning)
election = Election({self.etcd.url!r}, {self.key!r}, "master", ttl=5, on_event=lambda event: say("master", type(event).__name__)).start()
while not election.is_leader or not election.poll(0.05): pass
def serve(name):
    signal.alarm(60)
    assert not election.is_leader
    mine = Election({self.etcd.url!r}, {self.key!r}, name, ttl=5, on_event=lambda event: say(name, type(event).__name__))
    signal.signal(signal.SIGTERM, lambda *_: mine.stop())
    with mine:
        while mine.poll(): pass
    sys.exit(0)
workers = []
for at in range(3):
    pid = os.fork()
    if pid == 0: serve(f"worker-{{at}}")
    workers.append(pid)
signal.signal(signal.SIGTERM, lambda *_: election.stop())
while election.poll(): pass
election.close()
say("master has ended")
listen()
for pid in workers: os.kill(pid, signal.SIGTERM)
say("workers", [os.WEXITSTATUS(os.waitpid(pid, 0)[1]) for pid in workers])
""")
        for at in range(3):
            child.says(f"worker-{at} Leader")
        self.assertEqual(self.entries()[0], "master")
        self.assertEqual(sorted(self.entries()), ["master", "worker-0", "worker-1", "worker-2"])
        child.signal(signal.SIGTERM)
        child.says("master Unelected")
        child.says(r"worker-\d Elected")
        child.tell("go on")
        child.says(r"workers \[0, 0, 0\]")
        self.ends_promptly(child)
        self.assertEqual(self.entries(), [])


if __name__ == "__main__":
    unittest.main()
