"""What cannot be used is refused by name, with its value and the remedy, before any network; and no secret is shown."""

import asyncio

import pickle
import socket
import traceback
import unittest
from typing import Any, Dict, List, Type

import support  # noqa: F401
from etcd_leader import EtcdLeaderError, Election, InvalidError, InvalidTypeError, Leader
from support.case import Case

PLANTED = "Planted-Swordfish"
HTTPS = "https://127.0.0.1:2379"


class Arguments(unittest.TestCase):
    def setUp(self) -> None:
        """Somebody who would notice a connection."""
        self.watched = socket.socket()
        self.addCleanup(self.watched.close)
        self.watched.bind(("127.0.0.1", 0))
        self.watched.listen()
        self.watched.setblocking(False)
        self.url = f"http://127.0.0.1:{self.watched.getsockname()[1]}"

    def tearDown(self) -> None:
        with self.assertRaises(BlockingIOError, msg="somebody has connected"):
            self.watched.accept()

    def refused(self, kind: Type[InvalidError], *parts: str, **changes: Any) -> InvalidError:
        """It is, at the latest at the start, with all these in the message."""
        given: Dict[str, Any] = {"endpoints": self.url, "key": "/k", "name": "n", **changes}
        with self.assertRaises(InvalidError) as caught:
            Election(given.pop("endpoints"), given.pop("key"), given.pop("name"), **given).start()
        error = caught.exception
        self.assertIs(type(error), kind, error)
        self.assertEqual(error.code, "EL_INVALID")
        for part in parts:
            self.assertIn(part, error.message)
        return error

    def invalid(self, *parts: str, **changes: Any) -> None:
        self.refused(InvalidError, *parts, **changes)

    def wrong_type(self, *parts: str, **changes: Any) -> None:
        self.refused(InvalidTypeError, *parts, **changes)

    def test_endpoints(self) -> None:
        self.invalid("endpoints is empty", "at least one", endpoints=[])
        self.invalid("the number of endpoints is 65", "at most 64", endpoints=[self.url] * 65)
        self.invalid("endpoints[0]", "127.0.0.1:2379/v2", "http://host:port", endpoints="127.0.0.1:2379/v2")
        self.invalid("endpoints[1]", '"x"', "1 to 65535", endpoints=(self.url, "http://h:x"))
        self.invalid("endpoints[0]", "password", "leave them out", endpoints=f"http://root:{PLANTED}@h:1")
        self.invalid("endpoints[0] has a NUL byte at 8; leave it out", endpoints="http://h\0:1")
        self.wrong_type("endpoints[0] is of the type int; give a str", endpoints=2379)
        self.wrong_type("endpoints[0] is of the type bytes; give a str", endpoints=b"http://h:1")
        self.wrong_type("endpoints[1] is of the type bytes", "give a str", endpoints=[self.url, b"http://h:1"])
        self.wrong_type("endpoints[0] is of the type NoneType", "give a str", endpoints=[None])

    def test_texts(self) -> None:
        self.invalid("key", "empty", "1 to 1024", key="")
        self.invalid("key", '"/a/"', "leave the slash out", key="/a/")
        self.invalid("key", '"/a//b"', "single", key="/a//b")
        self.invalid("key", "1025", "at most 1024", key="k" * 1025)
        self.invalid("name", "empty", "1 to 1024", name="")
        self.invalid(r"name 'a\x00b' has a NUL character at 1; leave it out", name="a\0b")
        self.invalid(r"key '/\udcff' cannot be written in UTF-8 from character 1 on", key="/\udcff")
        self.wrong_type("key is of the type bytes; give a str", key=b"/k")
        self.wrong_type("name is None; give a str", name=None)
        self.wrong_type("name is 7; give a str", name=7)
        # What is the user's own is left alone.
        self.invalid('"/ttl_s/"', key="/ttl_s/")

    def test_numbers(self) -> None:
        self.invalid("ttl is 301;", "1 to 300", ttl=301)
        self.invalid("ttl is -1; give whole seconds, or 0 for the default", ttl=-1)
        # C would take it for 1.
        self.invalid("ttl is 4294967297; give whole seconds", ttl=2**32 + 1)
        self.invalid("renew_ms", "100001", "at most 100000", renew_ms=100001)
        self.invalid("step_down_ms", "9999", "lower", step_down_ms=9999)
        self.invalid("request_timeout_ms", "19", "at least 20", request_timeout_ms=19)
        self.invalid("stop_timeout_ms", "3600001", "at most 3600000", stop_timeout_ms=3600001)
        self.wrong_type("ttl is 2.5; give whole seconds", ttl=2.5)
        self.wrong_type("ttl is '5'; give whole seconds", ttl="5")
        self.wrong_type("ttl is True; give whole seconds", ttl=True)
        self.wrong_type("renew_ms is None; give whole milliseconds, or 0 for the default", renew_ms=None)

    def test_choices(self) -> None:
        self.invalid('api is \'v4\'; give "v2" or "v3"', api="v4")
        self.invalid('api is 3; give "v2" or "v3"', api=3)
        self.invalid('on_store_reset is \'end\'; give "continue" or "stop"', on_store_reset="end")

    def test_access(self) -> None:
        self.invalid("username", '"me"', "set password", username="me")
        self.invalid("password", "without a user", "set username", password=PLANTED)
        self.invalid("ca_file", "not encrypted", "write https://", ca_file="/no/such/file")
        self.invalid("ca_file", "/no/such/file", "may read", endpoints=HTTPS, ca_file="/no/such/file")
        self.invalid("ca_file", "one of them", endpoints=HTTPS, ca_file="/f", ca_pem="x")
        self.invalid("ca_pem", "holds no certificate", "BEGIN CERTIFICATE", endpoints=HTTPS, ca_pem=b"x")
        self.invalid("certificate", "without its key", "key_file or key_pem", endpoints=HTTPS, cert_pem="x")
        self.invalid("tls_server_name", '"a b"', "DNS name", endpoints=HTTPS, tls_server_name="a b")
        self.invalid("ca_file", "has a NUL character at 2; leave it out", endpoints=HTTPS, ca_file="/f\0")
        self.wrong_type("ca_file is 5; give the path of a file", ca_file=5)
        self.wrong_type("username is of the type bytes; give a str", username=b"me", password="x")

    def test_callbacks(self) -> None:
        self.wrong_type("on_event is 'print'; give a function, or None", on_event="print")

    def test_timeouts(self) -> None:
        election = Election(self.url, "/k", "n")
        for timeout, kind in ((-1, InvalidError), (float("nan"), InvalidError), ("1", InvalidTypeError), (True, InvalidTypeError)):
            with self.assertRaises(InvalidError) as caught:
                election.poll(timeout)  # type: ignore[arg-type]
            self.assertIs(type(caught.exception), kind)
            self.assertRegex(str(caught.exception), r"EL_INVALID: timeout is .*; give seconds")

    def test_what_is_refused_is_a_value_error_and_a_wrong_type_a_type_error(self) -> None:
        with self.assertRaises(ValueError):
            Election(self.url, "/k/", "n").start()
        with self.assertRaises(TypeError):
            Election(self.url, 7, "n")  # type: ignore[arg-type]
        with self.assertRaises(EtcdLeaderError) as caught:
            Election(self.url, "/k/", "n").start()
        again = pickle.loads(pickle.dumps(caught.exception))
        self.assertEqual((type(again), str(again)), (InvalidError, str(caught.exception)))

    def test_no_refusal_shows_a_secret(self) -> None:
        mistakes: List[Dict[str, Any]] = [
            {"password": PLANTED},
            {"username": "me", "password": f"{PLANTED}\0"},
            {"username": "me", "password": f"{PLANTED}\udcff"},
            {"username": "me", "password": PLANTED.encode() + b"\xff"},
            {"username": "me", "password": [PLANTED]},
            {"username": "me", "password": PLANTED, "key": 7},
            {"username": "me", "password": PLANTED, "ttl": 999},
            {"username": "me", "password": PLANTED, "library": "/no/such/file"},
            {"endpoints": HTTPS, "cert_pem": "x", "key_pem": PLANTED},
            {"endpoints": HTTPS, "cert_pem": "x", "key_pem": f"{PLANTED}\0"},
            {"endpoints": [f"http://me:{PLANTED}@h:1\0"]},
            {"endpoints": f"http://me:{PLANTED}@h:1"},
        ]
        for mistake in mistakes:
            given: Dict[str, Any] = {"endpoints": self.url, "key": "/k", "name": "n", **mistake}
            where = (given.pop("endpoints"), given.pop("key"), given.pop("name"))
            try:
                Election(*where, **given).start()
            except EtcdLeaderError as error:
                # As an error reporter shows it: with the variables of all frames but ours.
                shown = traceback.TracebackException(type(error), error, error.__traceback__.tb_next, capture_locals=True)  # type: ignore[union-attr]
                text = "".join(shown.format()) + repr(error) + str(error) + repr(error.__context__)
                self.assertNotIn(PLANTED, text, mistake.keys())
            else:
                self.fail(f"taken: {mistake.keys()}")

    def test_an_election_shows_itself_without_its_secrets(self) -> None:
        election = Election(self.url, "/k", "host-1", username="me", password=PLANTED)
        self.assertEqual(repr(election), "<Election '/k' as 'host-1', not running>")

        def parts(thing: object, depth: int = 0) -> str:
            inner = getattr(thing, "__dict__", {}) if depth < 6 else {}
            return repr(thing) + repr(inner) + "".join(parts(one, depth + 1) for one in inner.values() if type(one).__module__.startswith("etcd_leader"))

        self.assertNotIn(PLANTED, parts(election))
        with self.assertRaisesRegex(TypeError, "make a new one in the other"):
            pickle.dumps(election)


class Nested(Case):
    def test_a_key_inside_that_of_a_running_election_is_refused(self) -> None:
        self.candidate("one", key=f"{self.key}/a").start()
        with self.assertRaisesRegex(InvalidError, "rename"):
            self.candidate("one", key=f"{self.key}/a/b").start()
        election = self.candidate("two", key=f"{self.key}/a/b").election
        with self.assertRaises(InvalidError), election:
            self.fail("it has started")
        with self.assertRaises(InvalidError):
            election.lead(lambda term: None)

        async def lead() -> None:
            async with election.lead():
                self.fail("it has started")

        with self.assertRaises(InvalidError):
            asyncio.run(lead())
        self.assertFalse(election.is_running)

    def test_names_of_any_length_and_kind(self) -> None:
        for name in ("x" * 1024, "Zoë\n\t\"'\\", "名" * 341):
            key = f"{self.key}/{len(name)}"
            one = self.candidate(name, key=key).start()
            one.hears(Leader)
            self.assertEqual((one.election.leader, one.heard(Leader)[0].name, self.etcd.names(key)), (name, name, [name]))
            one.election.close()


if __name__ == "__main__":
    unittest.main()
