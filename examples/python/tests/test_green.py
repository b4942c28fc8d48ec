"""gevent and eventlet, which put greenlets in the place of threads: while one waits for etcd, the others go on."""

import support  # noqa: F401
from support.case import Case
from support.etcd import Etcd

PATCHED = {
    "gevent": "from gevent import monkey; monkey.patch_all(); from gevent import sleep, spawn",
    "eventlet": "import eventlet; eventlet.monkey_patch(); from eventlet import sleep, spawn",
}


class Green(Case):
    def test_an_election_leads_and_is_handed_over(self) -> None:
        for library, patch in PATCHED.items():
            with self.subTest(library):
                child = self.program(
                    f"""
key = {self.key!r} + {library!r}
def new(name): return Election({self.etcd.url!r}, key, name, ttl=20)
with new("one") as one:
    while not one.is_leader: one.poll()
    tokens = []
    ended = []
    def follow():
        with new("two").lead() as term: tokens.append(term.token)
        ended.append(True)
    follower = spawn(follow)
    sleep(0.1)
    say("leads", one.is_leader, len(tokens))
while not ended: sleep(0.01)
say("handed over", len(tokens))
""",
                    first=f"import warnings; warnings.simplefilter('ignore'); {patch}",
                )
                child.says("leads True 0")
                child.says("handed over 1")
                self.ends_promptly(child, within=5)

    def test_with_etcd_frozen_the_other_greenlets_go_on(self) -> None:
        for library, patch in PATCHED.items():
            with self.subTest(library):
                etcd = Etcd()
                self.addCleanup(etcd.end)
                child = self.program(
                    f"""
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        sleep(0.02)
spawn(tick)
election = Election({etcd.url!r}, {self.key!r}, "one", ttl=3).start()
while not election.is_leader: election.poll()
say("leads")
listen()
begun = time.monotonic()
election.close()
took = time.monotonic() - begun
stood = max(later - earlier for earlier, later in zip(ticks, ticks[1:]) if later > begun)
say("closed", took > 2, "stood", stood < 1.5)
""",
                    first=f"import warnings; warnings.simplefilter('ignore'); {patch}",
                )
                child.says("leads")
                etcd.freeze()
                child.tell("go on")
                child.says("closed True stood True")
                etcd.thaw()
                self.ends_promptly(child, within=5)
