#!/usr/bin/env python3
"""A job that one of many hosts runs, every few seconds, with a guard on each write. At the top of the repository:

    make lib
    python3 examples/python/cron.py http://127.0.0.1:2379 /jobs/report host-1 /tmp/report.db 5

The last argument is how many seconds lie between two runs. Start it on as many hosts as you like: one runs the job, the
others wait. When it dies, the next one goes on where it was.
What the job writes goes with the token of the term, and the database refuses one that is smaller than the largest it has
seen: so a process that was stopped for minutes between asking "do I lead?" and writing does no harm. SQLite stands here for
the database that all hosts share; the statement is the same in any.
"""

import signal
import sqlite3
import sys
import time

from etcd_leader import Election, EtcdLeaderError, LostError, Term

SCHEMA = """
    CREATE TABLE IF NOT EXISTS report (id INTEGER PRIMARY KEY CHECK (id = 1), runs INTEGER, at REAL, host TEXT, fence INTEGER);
    INSERT OR IGNORE INTO report VALUES (1, 0, 0, '', 0);
"""


class TooOld(Exception):
    """Somebody with a larger token has written since."""


def run_job(database: sqlite3.Connection, host: str, token: int) -> int:
    """Does the work of one run, all of it or nothing. Gives its number."""
    with database:
        written = database.execute(
            "UPDATE report SET runs = runs + 1, at = :now, host = :host, fence = :token WHERE fence <= :token",
            {"now": time.time(), "host": host, "token": token},
        )
        if written.rowcount == 0:
            raise TooOld(f"the token {token} is too old: somebody else has led since")
        (number,) = database.execute("SELECT runs FROM report").fetchone()
    return int(number)


def run_jobs(database: sqlite3.Connection, host: str, term: Term, seconds: float) -> None:
    """Runs the job whenever it is due, as long as the term lasts."""
    while not term.is_lost():
        (last,) = database.execute("SELECT at FROM report").fetchone()
        # The sleep to take while leading: it ends as soon as the lead is lost.
        if not term.lost.wait(max(0.0, min(seconds, last + seconds - time.time()))):
            number = run_job(database, host, term.token)
            print(f"{host}: run {number}, token {term.token}", flush=True)


def main() -> int:
    if not 5 <= len(sys.argv) <= 6:
        print(f"usage: {sys.argv[0]} endpoint key name database [seconds]", file=sys.stderr)
        return 2
    endpoint, key, host, path = sys.argv[1:5]
    seconds = float(sys.argv[5]) if len(sys.argv) > 5 else 60.0
    # As Ctrl-C does, SIGTERM ends whatever is being done, by an exception: what was not committed is rolled back, and then
    # the place is given up.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    database = sqlite3.connect(path, timeout=30)
    database.executescript(SCHEMA)
    election = Election(endpoint, key, host, ttl=4)
    while True:
        try:
            with election.lead() as term:
                print(f"{host}: leading with token {term.token}", flush=True)
                run_jobs(database, host, term, seconds)
        except LostError as loss:
            print(f"{host}: {loss}", flush=True)
        except TooOld as refusal:
            print(f"{host}: {refusal}", flush=True)
            # Whoever led since does so still, or etcd was wiped, and then only a person can reset the fence.
            time.sleep(1)
        except EtcdLeaderError as error:
            print(f"{sys.argv[0]}: {error.message}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
