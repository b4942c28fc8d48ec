"""Servers that fork their workers, and end them in their own ways. One process leads, the next one leads when it is killed,
and each gives its place up at its end."""

import os
import shutil
import sys
import unittest
from pathlib import Path
from typing import Callable, Optional, Set

import support  # noqa: F401
from support import PYTHON
from support.case import Case
from support.etcd import Ports, temporary
from support.hosts import STEPS, Claims, Host, pool

HOSTS = PYTHON / "hosts"


class Hosts(Case):
    def host(self, key: str, **variables: str) -> Host:
        """A folder of its own, and what servers need to find our examples."""
        folder = temporary()
        self.addCleanup(shutil.rmtree, folder)
        made = Host(self.etcd, key, folder, {"PYTHONPATH": f"{PYTHON}{os.pathsep}{HOSTS}", **variables})
        self.addCleanup(made.end)
        return made

    def lives(self, host: Host, *command: str, ask: Callable[[], Optional[Set[int]]] = lambda: None) -> None:
        """A server, as its documentation starts it."""
        program = str(Path(sys.executable).parent / command[0])
        self.assertEqual(set(pool(host, lambda: host.start([program, *command[1:]]), ask)), set(STEPS))

    def serves(self, *command: str) -> None:
        port = Ports(1)
        self.addCleanup(port.close)
        command = tuple(one.format(port=port.numbers[0]) for one in command)
        self.lives(self.host("/wsgi"), *command, ask=Claims(port.numbers[0]).ask)

    def test_gunicorn(self) -> None:
        self.serves("gunicorn", "--workers=2", "--bind=127.0.0.1:{port}", "wsgi:app")

    def test_gunicorn_that_loads_before_it_forks(self) -> None:
        self.serves("gunicorn", "--preload", "--workers=2", "--bind=127.0.0.1:{port}", "wsgi:app")

    def test_uwsgi(self) -> None:
        options = ["--master", "--die-on-term", "--processes=2", "--need-app", "--http-socket=127.0.0.1:{port}"]
        self.serves("uwsgi", *options, "--module=wsgi:app")

    def test_celery(self) -> None:
        host = self.host("/celery", BROKER="memory://")
        self.lives(host, "celery", "-A", "celery_worker", "worker", "--concurrency=2")

    def test_supervisord(self) -> None:
        host = self.host("/supervised", PYTHON=sys.executable)
        self.lives(host, "supervisord", "--configuration", str(HOSTS / "supervisord.conf"))


if __name__ == "__main__":
    unittest.main()
