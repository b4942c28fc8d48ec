"""Real etcd members, gone with the process that started them."""

import atexit
import base64
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from . import ROOT
from .wait import wait_for

# etcd waits for the disk at every step.
PARENT = "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()


def find(name: str, variable: str) -> str:
    given = os.environ.get(variable)
    if given:
        if not os.path.exists(given):
            raise AssertionError(f"{variable} is {given}, and there is no such file")
        return given
    found = shutil.which(name) or shutil.which(name, path=str(ROOT / ".cache/etcd/usr/bin"))
    if not found:
        raise AssertionError(f"no {name} found: set {variable} to one, put one on PATH, or run `make etcd`")
    return found


def dies_with_us() -> List[str]:
    """What stands before a command that is to be killed when this thread ends."""
    setpriv = shutil.which("setpriv")
    if not setpriv:
        raise AssertionError("no setpriv found: install util-linux")
    return [setpriv, "--pdeathsig", "KILL", "--"]


class Ports:
    """Free ports that the system gives to nobody else until they are closed. They are bound and not listened on: a
    connection is refused, and who binds them by name and with SO_REUSEADDR, as etcd does, may listen there."""

    def __init__(self, count: int) -> None:
        self._sockets = [socket.socket() for _ in range(count)]
        for one in self._sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 0))
        self.numbers: List[int] = [one.getsockname()[1] for one in self._sockets]

    def close(self) -> None:
        for one in self._sockets:
            one.close()


def temporary(parent: Optional[str] = None) -> str:
    """A folder. What tests/run calls this run is in its name, so that what is left behind is seen."""
    run = os.environ.get("ETCD_LEADER_TEST_RUN", "")
    return tempfile.mkdtemp(prefix=f"etcd-leader-test-{os.getpid()}-{run}-", dir=parent)


class Entry(NamedTuple):
    """A member of an election, as etcd has it."""

    key: str
    name: str


class Tls(NamedTuple):
    cert: str
    key: str
    #: Whom it asks clients for certificates of.
    ca: Optional[str] = None


class Etcd:
    """One member with API v2 and v3. `flags` are added to the usual ones. With `tls` it listens for TLS too, at `https_url`;
    with `auto_tls` with a certificate that it makes itself, at `auto_ca`."""

    _living: "List[Etcd]" = []

    def __init__(self, flags: Sequence[str] = (), tls: Optional[Tls] = None, auto_tls: bool = False) -> None:
        self._process: Optional[subprocess.Popen[bytes]] = None
        self.folder = temporary(PARENT)
        # Its own also while it does not run.
        self._ports = Ports(3)
        Etcd._living.append(self)
        self.port, peer, https = self._ports.numbers
        self.url, self.https_url = f"http://127.0.0.1:{self.port}", f"https://127.0.0.1:{https}"
        self.auto_ca = f"{self.folder}/data/fixtures/client/cert.pem"
        self._command = [
            *dies_with_us(),
            find("etcd", "ETCD_BIN"),
            f"--data-dir={self.folder}/data",
            f"--listen-client-urls={self.url}{',' + self.https_url if tls or auto_tls else ''}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--enable-v2=true",
            *(["--auto-tls"] if auto_tls else []),
            *([f"--cert-file={tls.cert}", f"--key-file={tls.key}"] if tls else []),
            *(["--client-cert-auth", f"--trusted-ca-file={tls.ca}"] if tls and tls.ca else []),
            *flags,
        ]
        self.restart()

    def _launch(self) -> None:
        # Variables that begin with ETCD are flags to etcd.
        env = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
        with open(f"{self.folder}/log", "wb") as log:
            self._process = subprocess.Popen(self._command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _is_healthy(self) -> bool:
        try:
            return bool(self._ask("GET", "/health")["health"] == "true")
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            return False

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse().read()
            return json.loads(answer)
        finally:
            connection.close()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def freeze(self) -> None:
        """SIGSTOP, and the certainty that each thread stands still: until then a request that was sent before may be answered."""
        assert self._process is not None
        self.signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self._process.pid}/task")

        def is_still(task: Path) -> bool:
            return (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"

        wait_for(f"{self.url} to stand still", lambda: all(map(is_still, tasks.iterdir())))

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """kill -9; `restart` brings it back with its data."""
        self._kill()

    def restart(self) -> None:
        self._launch()

        def is_up() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                log = Path(self.folder, "log").read_text(errors="replace")
                raise AssertionError(f"etcd ended:\n{log[-4000:]}")
            return self._is_healthy()

        wait_for(f"{self.url} to be healthy", is_up)

    def etcdctl(self, *words: str) -> str:
        env = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
        env["ETCDCTL_API"] = "3"
        command = [find("etcdctl", "ETCDCTL_BIN"), "--endpoints", self.url, *words]
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"etcdctl {words[0]}: {done.stderr}")
        return done.stdout

    def entries(self, key: str, api: str = "v3") -> List[Entry]:
        """The members of an election, the leader first."""
        if api == "v2":
            nodes: List[Dict[str, Any]] = self._ask("GET", f"/v2/keys{key}?quorum=true").get("node", {}).get("nodes", [])
            return [Entry(node["key"], node["value"]) for node in sorted(nodes, key=lambda node: int(node["createdIndex"]))]
        start, end = f"{key}/".encode(), f"{key}0".encode()
        coded = {"key": base64.b64encode(start).decode(), "range_end": base64.b64encode(end).decode(), "sort_target": "CREATE"}
        found = self._ask("POST", "/v3/kv/range", coded).get("kvs", [])
        return [Entry(*(base64.b64decode(one[part]).decode() for part in ("key", "value"))) for one in found]

    def names(self, key: str, api: str = "v3") -> List[str]:
        return [entry.name for entry in self.entries(key, api)]

    def remove(self, entry: Entry, api: str = "v3") -> None:
        """Deletes one entry, as an admin would."""
        if api == "v2":
            self._ask("DELETE", f"/v2/keys{entry.key}")
        else:
            self._ask("POST", "/v3/kv/deleterange", {"key": base64.b64encode(entry.key.encode()).decode()})

    def remove_leader(self, key: str, api: str = "v3") -> None:
        self.remove(self.entries(key, api)[0], api)

    def end(self) -> None:
        if self in Etcd._living:
            Etcd._living.remove(self)
        self._kill()
        self._ports.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def end_all() -> None:
        for one in list(Etcd._living):
            one.end()


atexit.register(Etcd.end_all)
_shared: List[Tuple[int, Etcd]] = []


def shared() -> Etcd:
    """The one for all tests of this process that do it no harm."""
    if not _shared or _shared[0][0] != os.getpid():
        _shared[:] = [(os.getpid(), Etcd())]
    return _shared[0][1]
