"""Programs in processes of their own: what they say, line by line, and how they end."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Dict, List, NamedTuple, Optional, Pattern, Sequence, Union

from . import PYTHON
from .etcd import dies_with_us
from .wait import PATIENCE, PROMPTLY, wait_for

#: What a program has at hand: the package; `say(*words)`; `listen()`, which waits until the test tells it something; and
#: `report(event)`, a callback.
PRELUDE = """
import os, signal, sys, threading, time, warnings
from etcd_leader import *
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def listen():
    return sys.stdin.readline().strip()
def report(event):
    say(type(event).__name__, *(value for value in vars(event).values() if value != ""))
"""


class Line(NamedTuple):
    at: float
    text: str


class Child:
    """It is killed when this thread ends, and when `end` is called."""

    def __init__(self, command: Sequence[str], env: Optional[Dict[str, str]] = None, cwd: Optional[str] = None) -> None:
        self.lines: List[Line] = []
        self._news = threading.Condition()
        self._is_read = False
        self.begun = time.monotonic()
        self.ended_at = 0.0
        self.process = subprocess.Popen(
            [*dies_with_us(), *command],
            env={**os.environ, "PYTHONPATH": str(PYTHON), **(env or {})},
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._errors: List[str] = []
        self._readers = [threading.Thread(target=reads, daemon=True) for reads in (self._read_output, self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(Line(time.monotonic(), line.rstrip("\n")))
                self._news.notify_all()
        # With its output it has ended itself.
        self.ended_at = time.monotonic()
        with self._news:
            self._is_read = True
            self._news.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors.append(self.process.stderr.read())

    def says(self, pattern: Union[str, Pattern[str]], count: int = 1, patience: float = PATIENCE) -> Line:
        """The first line that begins so (or the `count`th), when it has been said."""
        asked = re.compile(pattern)

        def found() -> Optional[Line]:
            matching = [line for line in self.lines if asked.match(line.text)]
            return matching[count - 1] if len(matching) >= count else None

        with self._news:
            self._news.wait_for(lambda: found() or self._is_read, patience)
            line = found()
        if line is None:
            end = "it has ended" if self._is_read else f"waited {patience} s in vain"
            if self._is_read:
                self.ends()
            raise AssertionError(f"{end}: {asked.pattern!r} was not said, but:\n{self}")
        return line

    def said(self) -> List[str]:
        return [line.text for line in self.lines]

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def waits(self) -> None:
        """Until its main thread sleeps, and goes on doing so. Of a signal that comes just before a wait, the wait hears nothing."""
        looks: List[str] = []

        def is_asleep() -> bool:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/status", encoding="ascii", errors="replace") as file:
                status = dict(line.split(":", 1) for line in file)
            if not status["State"].strip().startswith("S"):
                looks.clear()
                return False
            looks.append(status["voluntary_ctxt_switches"])
            return looks[-5:] == looks[-1:] * 5

        wait_for("its main thread to sleep", is_asleep)

    def signal(self, number: int) -> float:
        """When it was sent."""
        self.process.send_signal(number)
        return time.monotonic()

    def ends(self, patience: float = PATIENCE) -> int:
        """Its status, when it has ended and all it said was read."""
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            # Where it hangs: faulthandler writes all stacks.
            self.process.send_signal(signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(PROMPTLY)
            self.end()
            raise AssertionError(f"it has not ended in {patience} s:\n{self}") from None
        for reader in self._readers:
            reader.join(PATIENCE)
        return status

    @property
    def errors(self) -> str:
        return "".join(self._errors)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def __str__(self) -> str:
        return "\n".join([*self.said(), "--- stderr", self.errors])


def program(
    code: str, *arguments: str, env: Optional[Dict[str, str]] = None, flags: Sequence[str] = (), first: str = ""
) -> Child:
    """Runs a piece of Python with what `PRELUDE` gives, after `first`."""
    return Child([sys.executable, "-X", "faulthandler", *flags, "-c", f"{first}\n{PRELUDE}{code}", *arguments], env)
