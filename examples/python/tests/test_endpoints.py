"""Endpoints as etcdctl takes them: a list in one string, a socket, a domain that lists the servers."""

import os
import socket
import tempfile
import threading
import unittest

import support  # noqa: F401
from etcd_leader import Elected, Retrying
from support.case import Case


def pass_on(source: socket.socket, target: socket.socket) -> None:
    """All that comes, until the end."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def bridge(one: socket.socket, other: socket.socket) -> None:
    """Both ways, until both have ended."""
    with one, other:
        back = threading.Thread(target=pass_on, args=(other, one), daemon=True)
        back.start()
        pass_on(one, other)
        back.join()


class Endpoints(Case):
    @property
    def server(self) -> str:
        return self.etcd.url[len("http://") :]

    def listen(self, path: str) -> None:
        """A socket there leads to etcd."""
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        # This ends the thread's accept.
        self.addCleanup(listener.shutdown, socket.SHUT_RDWR)
        listener.bind(path)
        listener.listen()
        host, port = self.server.split(":")

        def serve() -> None:
            while True:
                try:
                    source, _ = listener.accept()
                except OSError:
                    return
                target = socket.create_connection((host, int(port)))
                threading.Thread(target=bridge, args=(source, target), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()

    def test_a_list_is_one_string(self) -> None:
        self.candidate(endpoints=f" {self.server} , ").start().hears(Elected)

    def test_a_socket(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.listen(os.path.join(folder, "etcd"))
            one = self.candidate(endpoints=f"unix://{folder}/etcd").start()
            one.hears(Elected)
            one.election.close()

    def test_a_domain_is_looked_up(self) -> None:
        trouble = self.candidate(endpoints="srv://nowhere.invalid").start().hears(Retrying)
        self.assertIn("nowhere.invalid", trouble.message)


if __name__ == "__main__":
    unittest.main()
