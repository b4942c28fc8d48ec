#!/usr/bin/env python3
"""A candidate that says what happens to it, until Ctrl-C. At the top of the repository:

    make lib
    python3 examples/python/campaign.py http://127.0.0.1:2379 /jobs/nightly host-1

Start it three times with different names: one leads. End that one with Ctrl-C or kill -9: the next one leads.
A fourth argument is the ttl in seconds; give several members of etcd with commas between them. `--v2` before the first
argument takes etcd's API v2 (etcd --enable-v2=true); all candidates must take the same API.
"""

import signal
import sys
from types import FrameType
from typing import List, Optional

from etcd_leader import Elected, Election, EtcdLeaderError, Event, Leader, Recovered, Retrying, Unelected


def words(event: Event) -> str:
    if isinstance(event, Elected):  # Start the leading work here: on a thread, as a child process, as a flag for the loop.
        return f"elected, token {event.token}"
    if isinstance(event, Unelected):  # End it here. The place is kept until this has returned and poll() is called again.
        return f"unelected ({event.code}): {event.message}"
    if isinstance(event, Leader):
        return f"the leader is {event.name or 'not known'}"
    if isinstance(event, Retrying):
        return f"retrying ({event.code}): {event.message}"
    if isinstance(event, Recovered):
        return "all is well again"
    return f"the end ({event.code}) {event.message}".rstrip()  # EL_OK: nobody else led before the work had ended.


def main(program: str, arguments: List[str]) -> int:
    api = "v3"
    if arguments[:1] == ["--v2"]:
        api = "v2"
        del arguments[0]
    if not 3 <= len(arguments) <= 4 or not all(ttl.isdigit() for ttl in arguments[3:]):
        print(f"usage: {program} [--v2] endpoint[,endpoint...] key name [ttl in seconds]", file=sys.stderr)
        return 2
    endpoints, key, name = arguments[:3]
    is_stopped = False

    def on_event(event: Event) -> None:
        print(f"{name}: {words(event)}", flush=True)

    try:
        ttl = int(arguments[3]) if len(arguments) > 3 else 0
        election = Election(endpoints.split(","), key, name, ttl=ttl, api=api, on_event=on_event).start()
    except EtcdLeaderError as error:
        print(f"{program}: {error.message}", file=sys.stderr)
        return 2

    def on_signal(number: int, frame: Optional[FrameType]) -> None:
        nonlocal is_stopped
        is_stopped = True
        election.stop()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    while election.poll():
        pass
    election.close()
    # Nothing but a stop ends an election that can go on.
    return 0 if is_stopped else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[0], sys.argv[1:]))
