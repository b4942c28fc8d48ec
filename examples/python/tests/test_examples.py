"""The examples do what they say, and every block of the README runs."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import sys
import unittest
from pathlib import Path
from typing import List

import support  # noqa: F401
from support import PYTHON, ROOT
from support.case import Case
from support.child import Child
from support.etcd import Ports, temporary
from support.wait import wait_for


class Examples(Case):
    def example(self, name: str, *arguments: str) -> Child:
        made = Child([sys.executable, str(PYTHON / name), *arguments])
        self.addCleanup(made.end)
        return made

    def refuses(self, name: str, arguments: List[str], said: str) -> None:
        child = self.example(name, *arguments)
        self.assertEqual(child.ends(), 2, str(child))
        self.assertIn(said, child.errors)
        self.assertNotIn("Traceback", child.errors)


class Heads(Examples):
    def test_the_commands_in_the_head_run_it_in_a_checkout(self) -> None:
        names = sorted(path.name for path in PYTHON.glob("*.py") if path.name != "build_wheel.py")
        self.assertEqual(len(names), 3)
        for name in names:
            head = (PYTHON / name).read_text().split('"""')[1]
            build, command = re.findall(r"^    (.+)$", head, re.MULTILINE)
            self.assertEqual(build, "make lib")
            self.assertTrue(command.startswith(f"python3 examples/python/{name} http://127.0.0.1:2379 /"), command)
            folder, port = temporary(), Ports(1)
            self.addCleanup(shutil.rmtree, folder)
            port.close()
            # Folders first: the interpreter may lie in /tmp, too.
            shown = (("/tmp/", f"{folder}/"), ("python3", sys.executable), ("http://127.0.0.1:2379", self.etcd.url))
            for part, ours in (*shown, (" 8080", f" {port.numbers[0]}")):
                command = command.replace(part, ours)
            # What is built is where `make lib` puts it, and no variable says so.
            child = Child(["sh", "-c", f"unset ETCD_LEADER_LIBRARY PYTHONPATH; exec {command}"], cwd=str(ROOT))
            self.addCleanup(child.end)
            child.says(r".*token \d+")
            child.signal(signal.SIGTERM)
            self.assertEqual((child.ends(), child.errors), (0, ""), str(child))
            self.assertEqual(self.etcd.names(command.split()[3]), [])


class Frozen(Examples):
    """SIGTERM ends it while etcd is frozen: within the ttl, and as long again when the library is let go."""

    def ends_in_time(self, name: str, ttl: float, *arguments: str) -> None:
        for leads in (True, False):
            etcd = self.own_etcd()
            if not leads:
                self.example("campaign.py", etcd.url, "/frozen", "first", "30").says("first: elected")
            child = self.example(name, etcd.url, "/frozen", "one", *arguments)
            wait_for("all in line", lambda: "one" in etcd.names("/frozen"))
            if leads:
                child.says(r".*token \d+")
            etcd.freeze()
            asked = child.signal(signal.SIGTERM)
            self.assertEqual(child.ends(), 0, str(child))
            self.assertLess(child.ended_at - asked, 2 * ttl + 5, str(child))

    def test_campaign(self) -> None:
        self.ends_in_time("campaign.py", 2, "2")

    def test_cron(self) -> None:
        self.ends_in_time("cron.py", 4, ":memory:", "0.1")

    def test_service(self) -> None:
        port = Ports(1)
        port.close()
        self.ends_in_time("service.py", 4, str(port.numbers[0]))


class Campaign(Examples):
    def three(self, *api: str) -> None:
        where = "v2" if api else "v3"

        def start(name: str) -> Child:
            return self.example("campaign.py", *api, self.etcd.url, self.key, name, "5")

        one = start("one")
        one.says("one: the leader is one")
        two = start("two")
        two.says("two: the leader is one")
        three = start("three")
        three.says("three: the leader is one")
        self.assertEqual(self.etcd.names(self.key, where), ["one", "two", "three"])
        one.signal(signal.SIGINT)
        self.assertEqual(one.ends(), 0, str(one))
        last = ["one: unelected (EL_STOPPED): the election was asked to stop", "one: the end (EL_OK)"]
        self.assertEqual(one.said()[-2:], last)
        two.says("two: the leader is two")
        three.says("three: the leader is two")
        two.process.kill()
        three.says("three: the leader is three")
        tokens = [int(child.says(r"\w+: elected, token (\d+)").text.split()[-1]) for child in (one, two, three)]
        self.assertEqual(tokens, sorted(tokens))
        three.signal(signal.SIGTERM)
        self.assertEqual(three.ends(), 0, str(three))
        self.assertEqual(self.etcd.names(self.key, where), [])

    def test_three_candidates(self) -> None:
        self.three()

    def test_three_candidates_on_v2(self) -> None:
        self.three("--v2")

    def test_says_what_is_wrong(self) -> None:
        for arguments, said in (
            ([], "usage: "),
            (["--v2", "http://h", "/k"], "usage: "),
            (["http://h", "/k", "n", "soon"], "usage: "),
            (["ftp://h", "/k", "n"], "ftp"),
            (["http://h", "/k/", "n"], "leave the slash out"),
            (["http://h", "/k", "n", "1000"], "ttl is 1000"),
        ):
            self.refuses("campaign.py", arguments, said)

    def test_trouble_and_the_end_are_told(self) -> None:
        nobody = Ports(1)
        self.addCleanup(nobody.close)
        child = self.example("campaign.py", f"http://127.0.0.1:{nobody.numbers[0]},{self.etcd.url}", self.key, "one")
        child.says("one: elected, token")
        etcd = self.own_etcd("--enable-v2=false")
        lost = self.example("campaign.py", "--v2", etcd.url, self.key, "one")
        lost.says(r"one: the end \(EL_UNSUPPORTED\) ")
        self.assertEqual(lost.ends(), 1)
        etcd.freeze()
        frozen = self.example("campaign.py", etcd.url, self.key, "one", "1")
        frozen.says(r"one: retrying \(EL_TIMEOUT\): ")
        etcd.thaw()
        frozen.says("one: all is well again")


class Cron(Examples):
    def test_one_runs_the_job_and_the_next_goes_on_where_it_was(self) -> None:
        folder = temporary()
        self.addCleanup(shutil.rmtree, folder)
        path = f"{folder}/report.db"

        def start(name: str) -> Child:
            return self.example("cron.py", self.etcd.url, self.key, name, path, "0.05")

        one = start("one")
        one.says("one: run 3,")
        two = start("two")
        wait_for("two to be in line", lambda: self.entries() == ["one", "two"])
        one.signal(signal.SIGTERM)
        self.assertEqual(one.ends(), 0, str(one))
        last = int(one.said()[-1].split()[2].rstrip(","))
        two.says("two: leading with token")
        two.says(r"two: run \d+")
        self.assertIn(int(two.said()[1].split()[2].rstrip(",")), (last + 1, last + 2))
        # Somebody else has written with a larger token, as after a pause at an odd moment.
        with sqlite3.connect(path, timeout=30) as database:
            database.execute("UPDATE report SET fence = fence + 1000")
        two.says(r"two: the token \d+ is too old: somebody else has led since")
        two.signal(signal.SIGINT)
        self.assertEqual(two.ends(), 130, str(two))
        self.assertEqual((self.entries(), two.errors), ([], ""))
        database.close()

    def test_a_lost_lead_ends_the_runs_and_it_joins_again(self) -> None:
        folder = temporary()
        self.addCleanup(shutil.rmtree, folder)
        one = self.example("cron.py", self.etcd.url, self.key, "one", f"{folder}/report.db", "3600")
        one.says("one: leading with token")
        self.etcd.remove_leader(self.key)
        one.says("one: EL_KEY_LOST: ")
        one.says("one: leading with token", 2)

    def test_says_what_is_wrong(self) -> None:
        self.refuses("cron.py", [], "usage: ")
        self.refuses("cron.py", ["http://h", "/k/", "n", ":memory:"], "leave the slash out")
        os.environ["ETCD_LEADER_LIBRARY"], library = "/no/such/file", os.environ["ETCD_LEADER_LIBRARY"]
        try:
            self.refuses("cron.py", ["http://h", "/k", "n", ":memory:"], "no such file")
        finally:
            os.environ["ETCD_LEADER_LIBRARY"] = library


class Service(Examples):
    def ask(self, port: int) -> str:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"who\n")
            return client.makefile().readline().split()[0]

    def test_one_serves_and_then_the_next(self) -> None:
        ports = Ports(1)
        self.addCleanup(ports.close)
        (port,) = ports.numbers
        one = self.example("service.py", self.etcd.url, self.key, "one", str(port))
        one.says("one: serving on port")
        two = self.example("service.py", self.etcd.url, self.key, "two", str(port))
        wait_for("two to be in line", lambda: self.entries() == ["one", "two"])
        self.assertEqual(self.ask(port), "one")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as idle:
            one.signal(signal.SIGTERM)
            # A connection that does nothing does not hold it up.
            self.assertEqual(idle.recv(1), b"")
        self.assertEqual(one.ends(), 0, str(one))
        two.says("two: serving on port")
        self.assertEqual(self.ask(port), "two")
        self.etcd.remove_leader(self.key)
        two.says("two: not serving any more")
        two.says("two: EL_KEY_LOST: ")
        two.says("two: serving on port", 2)
        two.signal(signal.SIGINT)
        self.assertEqual(two.ends(), 0, str(two))
        self.assertEqual((one.errors, two.errors), ("", ""))
        self.assertEqual(self.entries(), [])

    def test_says_what_is_wrong(self) -> None:
        self.refuses("service.py", [], "usage: ")


class Readme(Case):
    """The endpoint is the reader's own: here it is the test's."""

    def block(self, mark: str, readme: Path = PYTHON / "README.md", count: int = 3) -> str:
        blocks = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
        self.assertEqual(len(blocks), count, readme)
        (found,) = [block for block in blocks if mark in block]
        shown = ('"http://127.0.0.1:2379"', '"/jobs/nightly"')
        for part in shown:
            self.assertIn(part, found)
        return str(found).replace(shown[0], repr(self.etcd.url)).replace(shown[1], repr(self.key))

    def test_the_one_in_the_main_readme(self) -> None:
        child = self.program(self.block("from etcd_leader import", ROOT / "README.md", 1))
        self.ends_promptly(child, within=5)
        self.assertRegex(child.said()[-1], r"\btoken \d+")
        self.assertEqual((self.entries(), child.errors), ([], ""))

    def test_with_lead(self) -> None:
        child = self.program(self.block("term.lost.wait"))
        child.says("leading with token")
        child.says("step 2")
        self.ends_promptly(child)
        self.assertEqual(self.entries(), [])

    def test_async_with_lead(self) -> None:
        self.ends_promptly(self.program(self.block("asyncio.run")), within=5)
        child = self.program(self.block("asyncio.run").replace("sleep(1)", "sleep(60)"), flags=["-u"])
        child.says("leading with token")
        self.etcd.remove_leader(self.key)
        child.says("cut short: EL_KEY_LOST")
        self.ends_promptly(child)
        self.assertEqual(self.entries(), [])

    def test_for_event(self) -> None:
        child = self.program("import functools\nprint = functools.partial(print, flush=True)\n" + self.block("for event in election"))
        child.says("leading, token")
        child.says("the leader is host-1")
        child.signal(signal.SIGTERM)
        child.says(r"not leading any more \(EL_STOPPED\)")
        child.says(r"the end \(EL_OK\)")
        self.ends_promptly(child)
        self.assertEqual(self.entries(), [])


if __name__ == "__main__":
    unittest.main()
