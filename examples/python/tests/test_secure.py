"""Certificates and users, and that nobody sees a password or a key."""

import shutil
import traceback
import unittest
from pathlib import Path
from typing import Any, Dict, List

import support  # noqa: F401
from etcd_leader import Ended, EtcdLeaderError, Leader
from support.case import Case, Candidate
from support.etcd import Etcd, Tls, temporary
from support.pki import Ca, Issued

PLANTED = "Planted-Swordfish"


class Secure(Case):
    folder: str
    strict: Etcd
    client: Issued
    ca: str
    other: str

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = temporary()
        ca = Ca(cls.folder)
        cls.ca, cls.other = ca.cert, Ca(cls.folder, "other").cert
        server, cls.client = ca.issue("server"), ca.issue("client", "DNS:client", "clientAuth")
        # The flag that makes hashing cheap: passwords are checked at each authentication.
        cls.strict = Etcd(["--bcrypt-cost=4"], Tls(server.cert, server.key, ca.cert))
        for words in (
            ("user", "add", f"root:{PLANTED}"),
            ("user", "add", f"worker:{PLANTED}"),
            ("user", "add", f"nobody:{PLANTED}"),
            ("user", "grant-role", "root", "root"),
            ("role", "add", "election"),
            ("role", "grant-permission", "election", "--prefix=true", "readwrite", "/allowed/"),
            ("user", "grant-role", "worker", "election"),
            ("auth", "enable"),
        ):
            cls.strict.etcdctl(*words)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.strict.end()
        shutil.rmtree(cls.folder)

    def secured(self, key: str = "/allowed", **changes: Any) -> Candidate:
        given: Dict[str, Any] = {
            "ca_file": self.ca,
            "cert_file": self.client.cert,
            "key_file": Path(self.client.key),
            "username": "worker",
            "password": PLANTED,
            **changes,
        }
        return self.candidate("one", key=key, endpoints=self.strict.https_url, **{name: value for name, value in given.items() if value is not None})

    def silent(self, *things: object) -> None:
        """None of these shows a secret."""
        hidden = [PLANTED, *(line for line in Path(self.client.key).read_text().splitlines() if len(line) > 40)]
        for thing in things:
            shown = repr(thing) + str(thing) + repr(getattr(thing, "__dict__", ""))
            if isinstance(thing, BaseException):
                shown += "".join(traceback.TracebackException.from_exception(thing, capture_locals=False).format())
            for secret in hidden:
                self.assertNotIn(secret, shown)

    def test_with_files_and_with_texts(self) -> None:
        for changes in (
            {},
            {
                "ca_file": None,
                "ca_pem": Path(self.ca).read_text(),
                "cert_file": None,
                "cert_pem": Path(self.client.cert).read_bytes(),
                "key_file": None,
                "key_pem": Path(self.client.key).read_text(),
            },
            {"tls_server_name": "localhost"},
        ):
            one = self.secured(**changes).start()
            one.hears(Leader)
            self.assertTrue(one.election.is_leader)
            self.silent(one.election, one.election._settings, one.election._run, *(entry.event for entry in one.log))
            one.election.close()

    def test_a_certificate_that_etcd_makes_itself_is_its_own_ca(self) -> None:
        own = Etcd(auto_tls=True)
        self.addCleanup(own.end)
        for api in ("v2", "v3"):
            one = self.candidate("one", key="/auto", api=api, endpoints=own.https_url, ca_file=own.auto_ca).start()
            one.hears(Leader)
            self.assertTrue(one.election.is_leader)
            one.election.close()

    def test_what_is_not_trusted_is_told_and_retried(self) -> None:
        for changes in ({"ca_file": self.other}, {"tls_server_name": "elsewhere"}, {"cert_file": None, "key_file": None}):
            one = self.secured(ttl=1, **changes).start()
            self.assertEqual(one.hears_trouble().code, "EL_UNTRUSTED")
            self.silent(one.election, *(entry.event for entry in one.log))
            one.election.close()

    def test_who_may_not_is_told_why(self) -> None:
        mistakes: List[Dict[str, Any]] = [{"password": f"{PLANTED}-2"}, {"username": "nobody"}, {"key": "/other"}]
        for changes in mistakes:
            one = self.secured(**changes).start()
            failed = one.hears(Ended)
            self.assertEqual(failed.code, "EL_DENIED")
            self.silent(one.election, failed)
            with self.assertRaises(EtcdLeaderError) as caught:
                one.election.lead(lambda term: None)
            self.assertEqual(caught.exception.code, "EL_DENIED")
            self.silent(caught.exception)

    def test_a_program_that_fails_shows_nothing(self) -> None:
        child = self.program(
            """
import faulthandler, logging, traceback
logging.basicConfig(level=0)
def hook(kind, error, trace):
    sys.stderr.write("".join(traceback.TracebackException(kind, error, trace.tb_next, capture_locals=True).format()))
sys.excepthook = hook
election = Election(os.environ["URL"], "/other", "one", username="worker", password=os.environ["WORD"], ca_file=os.environ["CA"],
    cert_file=os.environ["CERT"], key_file=os.environ["KEY"], on_event=report)
say(election, vars(election))
with election.lead(): pass
""",
            env={"URL": self.strict.https_url, "WORD": PLANTED, "CA": self.ca, "CERT": self.client.cert, "KEY": self.client.key, "PYTHONASYNCIODEBUG": "1"},
            flags=["-X", "dev"],
        )
        child.says("Ended EL_DENIED")
        self.assertEqual(child.ends(), 1)
        self.assertIn("EL_DENIED", child.errors)
        self.assertNotIn(PLANTED, str(child))


if __name__ == "__main__":
    unittest.main()
