"""A candidate of the fault suite in Python, as candidate.c beside it: what it says, and what the register is told, is
described in ../reports.rs.

    candidate.py honest register api endpoints key name ttl_s
"""

import os
import signal
import socket
import sys
import threading
import time

from etcd_leader import Elected, Election, Ended, Leader, Retrying, Unelected

PACE_S = 0.02
now = time.monotonic_ns
is_stopped = threading.Event()


def say(words):
    os.write(1, f"{words}\n".encode())


def tell(event):
    if isinstance(event, Elected):
        words = f"elected {event.token}"
    elif isinstance(event, Unelected):
        words = f"unelected {event.code}"
    elif isinstance(event, Leader):
        words = f"leader {event.name or ''}"
    elif isinstance(event, Retrying):
        words = f"retrying {event.code} {event.message}"
    elif isinstance(event, Ended):
        words = f"{'ended' if is_stopped.is_set() else 'error'} {event.code} {event.message}"
    else:
        words = "retrying EL_OK"
    say(f"E {now()} {words}")


def main(judge, register, api, endpoints, key, name, ttl):
    assert judge == "honest"
    optional = {"username": "FAULTS_USER", "password": "FAULTS_PASSWORD", "ca_file": "FAULTS_CA"}
    work_s = int(os.environ.get("FAULTS_WORK_MS", "0")) / 1000
    options = {option: os.environ[variable] for option, variable in optional.items() if variable in os.environ}
    election = Election(endpoints.split(","), key, name, ttl=int(ttl), api=api, on_event=tell, **options).start()
    is_over = threading.Event()
    line = socket.socket(socket.AF_UNIX)
    line.connect(register)
    line.sendall(f"{name}\n".encode())

    def claim():
        return (election.is_leader and election.token) or 0

    def sample():
        while not is_over.wait(PACE_S):
            before = now()
            token = claim()
            say(f"S {before} {now()} {token}")

    def write():
        while not is_over.is_set():
            before = now()
            token = claim()
            if token == 0:
                time.sleep(0.001)
                continue
            after = now()
            time.sleep(work_s)
            try:
                line.sendall(f"{before} {after} {token}\n".encode())
                if not line.recv(1):
                    return
            except OSError:
                return

    threads = [threading.Thread(target=work) for work in (sample, write)]
    for thread in threads:
        thread.start()
    def stop(number, frame):
        is_stopped.set()
        election.stop()

    signal.signal(signal.SIGTERM, stop)
    while election.poll():
        pass
    is_over.set()
    line.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
    election.close()


main(*sys.argv[1:])
