"""Certificates for tests, made with openssl: a CA, and what it signs, in files."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple


class Issued(NamedTuple):
    cert: str
    key: str


def openssl(*arguments: str) -> None:
    if not shutil.which("openssl"):
        raise AssertionError("no openssl found: install openssl")
    subprocess.run(["openssl", *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True)


class Ca:
    def __init__(self, folder: str, name: str = "ca") -> None:
        self.folder = folder
        self.cert, self.key = f"{folder}/{name}.crt", f"{folder}/{name}.key"
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl("req", "-x509", *new, "-days", "3650", "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.cert)

    def issue(self, name: str, names: str = "IP:127.0.0.1,DNS:localhost", usage: str = "serverAuth") -> Issued:
        """`names` as in a subjectAltName."""
        cert, key, csr, extensions = (f"{self.folder}/{name}.{end}" for end in ("crt", "key", "csr", "ext"))
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl("req", *new, "-subj", f"/CN={name}", "-keyout", key, "-out", csr)
        Path(extensions).write_text(f"subjectAltName={names}\nextendedKeyUsage={usage}\n")
        signs = ("-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days", "3650", "-extfile", extensions)
        openssl("x509", "-req", "-in", csr, *signs, "-out", cert)
        return Issued(cert, key)
