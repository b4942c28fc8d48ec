"""`etcdctl elect`, a process for each candidate: see README.md. One `etcdctl elect --listen` tells this process who leads."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

url, key, number, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
libc = ctypes.CDLL(None)
lock = threading.Lock()
candidates = {}
leader = ("", 0)
leads = None
fresh = 0
has_said_all = False


def say(*words):
    print("@", *words, flush=True)


def end_with_us():
    PR_SET_PDEATHSIG = 1
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(*arguments):
    environment = dict(os.environ, ETCDCTL_API="3")
    command = [os.environ["ETCDCTL_BIN"], "--endpoints", url, "elect", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=end_with_us)


def names(process):
    """It prints a line with the key, and one with the name."""
    lines = iter(process.stdout.readline, "")
    for _ in lines:
        yield next(lines, "").strip()


def knows(name):
    """The caller holds the lock."""
    global leader
    if leader[0] != name:
        leader = (name, time.monotonic_ns())
    tell_all()


def tell_all():
    """The caller holds the lock."""
    global has_said_all
    if not has_said_all and leader[0] and len(candidates) >= count:
        has_said_all = True
        say("all")


def listen():
    for name in names(listener):
        with lock:
            knows(name)


def campaign(name, process):
    global leads
    for _ in names(process):
        with lock:
            say("elected", time.monotonic_ns(), name)
            leads = name
            knows(name)
        return


def add():
    global fresh
    with lock:
        name = f"{number}-{fresh}"
        fresh += 1
        candidates[name] = run(key, name)
        tell_all()
    threading.Thread(target=campaign, args=(name, candidates[name]), daemon=True).start()


def start(on):
    begun = time.monotonic_ns()
    process = run(on, "one")
    next(names(process))
    say("started", time.monotonic_ns() - begun)
    process.terminate()
    process.wait()


say("begun", time.monotonic_ns())
listener = run("--listen", key)
threading.Thread(target=listen, daemon=True).start()
for _ in range(count):
    add()
for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    if word == "stop":
        with lock:
            name, leads = leads, None
            if name is not None:
                process = candidates.pop(name)
                say("stopped", time.monotonic_ns())
                process.terminate()
    elif word == "again":
        add()
    elif word == "told":
        with lock:
            times = [leader[1]] * len(candidates) if leader[0] == rest else []
        say("told", *times)
    elif word == "start":
        start(rest)
for process in [listener, *candidates.values()]:
    process.kill()
    process.wait()
