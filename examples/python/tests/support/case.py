"""The base of test cases: candidates and programs that are ended with the test, and what they heard."""

import faulthandler
import itertools
import time
import unittest
from typing import Any, Callable, List, NamedTuple, Optional, Type, TypeVar

from etcd_leader import Elected, Election, Event, Retrying

from .child import Child, program
from .etcd import Etcd, shared
from .wait import PATIENCE

E = TypeVar("E")


class Heard(NamedTuple):
    at: float
    event: Any


class Candidate:
    """An election with a log of its events."""

    def __init__(self, etcd: Etcd, key: str, name: str, also: Optional[Callable[[Event], object]] = None, **options: Any) -> None:
        self.log: List[Heard] = []
        self.also = also
        self.election = Election(options.pop("endpoints", etcd.url), key, name, on_event=self._on_event, **{"ttl": 5, **options})

    def _on_event(self, event: Event) -> None:
        self.log.append(Heard(time.monotonic(), event))
        if self.also is not None:
            self.also(event)

    def start(self) -> "Candidate":
        self.election.start()
        return self

    def heard(self, kind: Type[E]) -> List[E]:
        return [entry.event for entry in self.log if isinstance(entry.event, kind)]

    def all_names(self) -> List[str]:
        return [type(entry.event).__name__ for entry in self.log]

    def names(self) -> List[str]:
        """Without troubles: a busy machine has some."""
        return [name for name in self.all_names() if name not in ("Retrying", "Recovered")]

    def hears(self, kind: Type[E], count: int = 1) -> E:
        """Polls until it has heard so many of these; the last of them."""
        give_up = time.monotonic() + PATIENCE
        goes_on = True
        while len(self.heard(kind)) < count:
            if time.monotonic() > give_up or not goes_on:
                raise AssertionError(f"it did not hear {count} {kind.__name__}, but {[entry.event for entry in self.log]}")
            goes_on = self.election.poll(PATIENCE)
        return self.heard(kind)[count - 1]

    def hears_trouble(self) -> Retrying:
        """The first one that is not the busy machine's, where answers are late."""
        for count in itertools.count(1):
            trouble = self.hears(Retrying, count)
            if trouble.code != "EL_TIMEOUT":
                break
        return trouble

    def ends(self) -> None:
        """Polls to the end."""
        while self.election.poll():
            pass


#: A test that takes longer hangs: it is shown where, and all is ended.
HANGS = 150.0


class Case(unittest.TestCase):
    """Tests on the etcd that is shared; each takes a key of its own."""

    api = "v3"

    def setUp(self) -> None:
        faulthandler.dump_traceback_later(HANGS, exit=True)
        self.addCleanup(faulthandler.cancel_dump_traceback_later)

    @property
    def etcd(self) -> Etcd:
        return shared()

    @property
    def key(self) -> str:
        return f"/{self.id()}"

    def candidate(self, name: str = "one", key: Optional[str] = None, etcd: Optional[Etcd] = None, **options: Any) -> Candidate:
        """Closed when the test is over."""
        made = Candidate(etcd or self.etcd, key or self.key, name, **{"api": self.api, **options})
        self.addCleanup(made.election.close)
        return made

    def leader(self, name: str = "one", **options: Any) -> Candidate:
        """One that leads."""
        made = self.candidate(name, **options).start()
        made.hears(Elected)
        return made

    def entries(self, key: Optional[str] = None) -> List[str]:
        """The names of the members in etcd, the leader first."""
        return self.etcd.names(key or self.key, self.api)

    def own_etcd(self, *flags: str, **options: Any) -> Etcd:
        """One that this test may harm."""
        made = Etcd(flags, **options)
        self.addCleanup(made.end)
        return made

    def program(self, code: str, *arguments: str, **options: Any) -> Child:
        made = program(code, *arguments, **options)
        self.addCleanup(made.end)
        return made

    def ends_promptly(self, child: Child, status: int = 0, within: float = 5.0) -> None:
        """It ends with this status, and soon after its last words: far sooner than any ttl here, also on a busy machine."""
        found = child.ends()
        self.assertEqual(found, status, str(child))
        last = child.lines[-1].at if child.lines else child.begun
        self.assertLess(child.ended_at - last, within, str(child))
