"""etcd-leader from Python: see README.md."""

import os
import selectors
import sys
import time
from typing import Dict

from etcd_leader import Elected, Election, Ended, Event, Leader

url, key, number, count = sys.argv[1:]
selector = selectors.DefaultSelector()
now = time.monotonic_ns


def say(*words: object) -> None:
    sys.stdout.write("@ " + " ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class One:
    """A candidate, and whom it knows to lead."""

    def __init__(self, name: str) -> None:
        self.name, self.leader, self.since = name, "", 0
        self.election = Election([url], key, name, on_event=self.on_event).start()
        selector.register(self.election, selectors.EVENT_READ, self)

    def on_event(self, event: Event) -> None:
        if isinstance(event, Elected):
            self.leader, self.since = self.name, now()
            say("elected", self.since, self.name)
        elif isinstance(event, Leader) and event.name:
            self.leader, self.since = event.name, now()
        elif isinstance(event, Ended) and event.code not in ("EL_OK", "EL_STOPPED"):
            raise SystemExit(event.message)

    def stop(self) -> None:
        selector.unregister(self.election)
        begun = now()
        self.election.stop()
        # One call tells it, the next one says that the work has ended.
        self.election.poll(0)
        self.election.poll(0)
        say("stopped", begun)
        self.election.close()


def start_once(on: str) -> None:
    begun = now()
    election = Election([url], on, "one").start()
    while not election.is_leader:
        election.poll()
    say("started", now() - begun)
    election.close()


everyone: Dict[str, One] = {}
fresh = 0


def add() -> None:
    global fresh
    name = f"{number}-{fresh}"
    fresh += 1
    everyone[name] = One(name)


say("begun", now())
for _ in range(int(count)):
    add()
selector.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
rest = b""
said_all = False
while True:
    for ready, _ in selector.select():
        if ready.data is not None:
            ready.data.election.poll(0)
            continue
        got = os.read(sys.stdin.fileno(), 65536)
        if not got:
            sys.exit()
        *orders, rest = (rest + got).split(b"\n")
        for order in orders:
            word, _, argument = order.decode().partition(" ")
            if word == "stop":
                leads = next((one for one in everyone.values() if one.election.is_leader), None)
                if leads is not None:
                    del everyone[leads.name]
                    leads.stop()
            elif word == "again":
                add()
            elif word == "start":
                start_once(argument)
            elif word == "told":
                say("told", *(one.since for one in everyone.values() if one.leader == argument))
    if not said_all and all(one.leader for one in everyone.values()):
        said_all = True
        say("all")
