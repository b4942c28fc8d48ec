"""Servers that fork their workers, and end them in their own ways: one process leads, and each gives its place up at its end."""

import contextlib
import http.client
import os
import shutil
import signal
import sys
import unittest
from pathlib import Path
from typing import Dict, List, Set

import support  # noqa: F401
from support import PYTHON
from support.case import Case
from support.child import Child
from support.etcd import Ports, temporary
from support.wait import wait_for

HOSTS = PYTHON / "hosts"


class Hosts(Case):
    def host(self, command: List[str], **variables: str) -> Child:
        """A server as its documentation starts it, in a folder of its own."""
        program = str(Path(sys.executable).parent / command[0])
        env = {"ETCD": self.etcd.url, "PYTHONPATH": f"{PYTHON}{os.pathsep}{HOSTS}", **variables}
        folder = temporary()
        self.addCleanup(shutil.rmtree, folder)
        made = Child([program, *command[1:]], env=env, cwd=folder)
        self.addCleanup(made.end)
        return made

    def ends_and_leaves_nothing(self, host: Child, key: str) -> None:
        host.signal(signal.SIGTERM)
        self.assertEqual(host.ends(), 0, str(host))
        # Long before a lease ends by itself.
        self.assertEqual(self.etcd.names(key), [])

    def serves(self, *command: str) -> None:
        port = Ports(1)
        self.addCleanup(port.close)
        number = port.numbers[0]
        host = self.host([one.format(port=number) for one in command])
        said: Dict[int, bool] = {}

        def ask() -> Set[int]:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", number, timeout=10)
                connection.request("GET", "/")
                pid, _, leads = connection.getresponse().read().decode().split()
                said[int(pid)] = leads == "True"
                connection.close()
            return {pid for pid, leads in said.items() if leads}

        wait_for("two processes that serve, one of which leads", lambda: ask() and len(said) == 2)
        wait_for("both to be in line", lambda: len(self.etcd.names("/wsgi")) == 2)
        self.assertEqual(len(ask()), 1)
        self.ends_and_leaves_nothing(host, "/wsgi")

    def test_gunicorn(self) -> None:
        self.serves("gunicorn", "--workers=2", "--bind=127.0.0.1:{port}", "wsgi:app")

    def test_gunicorn_that_loads_before_it_forks(self) -> None:
        self.serves("gunicorn", "--preload", "--workers=2", "--bind=127.0.0.1:{port}", "wsgi:app")

    def test_uwsgi(self) -> None:
        options = ["--master", "--die-on-term", "--processes=2", "--need-app", "--http-socket=127.0.0.1:{port}"]
        self.serves("uwsgi", *options, "--module=wsgi:app")

    def test_celery(self) -> None:
        host = self.host(["celery", "-A", "celery_worker", "worker", "--concurrency=2"], BROKER="memory://")
        wait_for("two processes in line", lambda: len(self.etcd.names("/celery")) == 2)
        self.ends_and_leaves_nothing(host, "/celery")


if __name__ == "__main__":
    unittest.main()
