"""How a host fares: its programs load, one leads, an orderly end hands over at once, after kill -9 the next one leads when
the lease has run out, and nothing is left. Each step is yielded when it was seen; a step that fails raises its reason."""

import contextlib
import http.client
import os
import re
import signal
import time
import uuid
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Set

from .child import Child
from .etcd import Etcd
from .wait import PATIENCE, PROMPTLY, wait_for

STEPS = ["loads", "one leads", "orderly end", "kill -9", "nothing left"]
#: The ttl of every program, in seconds.
TTL = 3


class Host:
    """Programs that bear a mark in their environment, by which all that they leave behind is found."""

    def __init__(self, etcd: Etcd, key: str, folder: str, variables: Optional[Dict[str, str]] = None) -> None:
        self.etcd, self.key, self.folder = etcd, key, folder
        self.mark = f"ETCD_LEADER_HOST={uuid.uuid4()}"
        name, value = self.mark.split("=")
        self.env = {name: value, "ETCD": etcd.url, "TTL": str(TTL), **(variables or {})}
        self.children: List[Child] = []

    def start(self, command: Sequence[str]) -> Child:
        made = Child(command, env=self.env, cwd=self.folder)
        self.children.append(made)
        return made

    def end(self) -> None:
        for child in self.children:
            child.end()
        for pid in self.alive():
            os.kill(pid, signal.SIGKILL)

    def alive(self) -> List[int]:
        def bears(environment: Path) -> bool:
            try:
                return self.mark.encode() in environment.read_bytes().split(b"\0")
            except OSError:
                return False

        return [int(found.parent.name) for found in Path("/proc").glob("[0-9]*/environ") if bears(found)]

    def ends(self, child: Child, statuses: Sequence[int]) -> None:
        """In order, and long before a lease ends by itself."""
        begun = time.monotonic()
        child.signal(signal.SIGTERM)
        status = child.ends()
        assert status in statuses, f"it ended with {status}:\n{child}"
        assert time.monotonic() - begun < TTL / 2 + 1, f"its end took {time.monotonic() - begun:.1f} s:\n{child}"

    def has_no_entry(self) -> None:
        assert self.etcd.names(self.key) == [], f"entries are left: {self.etcd.names(self.key)}"

    def has_no_process(self) -> None:
        wait_for("all processes to be gone", lambda: not self.alive())


class Claims:
    """The last answer of each process that serves examples/python/hosts/wsgi.py at this port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.leads: Dict[int, bool] = {}

    def ask(self) -> Set[int]:
        """Asks one of them, whichever the server takes; gives those that say that they lead."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.request("GET", "/")
            pid, _, leads = connection.getresponse().read().decode().split()
            self.leads[int(pid)] = leads == "True"
            connection.close()
        return {pid for pid, leads in self.leads.items() if leads}


def programs(host: Host, command: Callable[[str], List[str]], statuses: Sequence[int] = (0,)) -> Iterator[str]:
    """Three programs that take a name, and say "NAME: elected", or the like."""
    names = ["one", "two", "three"]
    children: Dict[str, Child] = {}
    for at, name in enumerate(names):
        children[name] = host.start(command(name))
        wait_for(f"{name} to be in line", lambda: host.etcd.names(host.key) == names[: at + 1])  # noqa: B023
    yield "loads"

    def led(name: str) -> str:
        return f"{name}: (elected|serving)"

    def leads(name: str, patience: float = PATIENCE) -> None:
        children[name].says(led(name), patience=patience)

    leads("one")
    leaders = [name for name in names if any(re.match(led(name), line.text) for line in children[name].lines)]
    assert leaders == ["one"], f"{leaders} lead"
    yield "one leads"
    host.ends(children["one"], statuses)
    assert host.etcd.names(host.key) == ["two", "three"], f"in line are {host.etcd.names(host.key)}"
    leads("two")
    yield "orderly end"
    children["two"].signal(signal.SIGKILL)
    # etcd looks for leases that have run out twice a second.
    leads("three", TTL + 2)
    yield "kill -9"
    host.ends(children["three"], statuses)
    host.has_no_entry()
    host.has_no_process()
    yield "nothing left"


def pool(host: Host, start: Callable[[], Child], ask: Callable[[], Optional[Set[int]]] = lambda: None) -> Iterator[str]:
    """Servers of two processes that bear their numbers in their names. The first one ends in order; of the second one the
    process that leads is killed, and replaced. `ask` gives the processes that say that they lead, if they can be asked."""

    def line() -> List[int]:
        ask()
        return [int(name.rsplit("-", 1)[1]) for name in host.etcd.names(host.key)]

    def two() -> List[int]:
        return wait_for("two processes in line", lambda: found if len(found := line()) == 2 else None)

    server = start()
    both = two()
    yield "loads"
    assert len(set(both)) == 2, f"two in line, and one process: {both}"
    if ask() is not None:
        leaders = wait_for("a process to say that it leads", ask)
        assert leaders == {both[0]}, f"in line are {both}, and {leaders} say that they lead"
    yield "one leads"
    server.signal(signal.SIGTERM)
    status = server.ends()
    assert status == 0, f"it ended with {status}:\n{server}"
    host.has_no_entry()
    yield "orderly end"
    host.has_no_process()
    yield "nothing left"
    start()
    first, second = two()
    os.kill(first, signal.SIGKILL)
    wait_for("the next one to lead, and another behind it", lambda: (now := line())[:1] == [second] and len(now) == 2)
    yield "kill -9"
