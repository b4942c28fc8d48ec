"""What the workers of test_fork do, in a module of its own: multiprocessing's spawn imports it."""

import signal
from typing import Optional, Tuple

from etcd_leader import Election, Leader


def work(url: str, key: str, name: str) -> Tuple[bool, Optional[str]]:
    """Leads an election of its own once, and says who leads the one of its parent."""
    signal.alarm(60)
    led = Election(url, f"{key}-{name}", name, ttl=5).lead(lambda term: not term.is_lost())
    with Election(url, key, name, ttl=5) as follower:
        for event in follower:
            if isinstance(event, Leader):
                return led, event.name
    return led, None


def lead_and_return(url: str, key: str) -> bool:
    """Leads, and returns while the election runs: the end of the process is to give the place up."""
    signal.alarm(60)
    election = Election(url, key, "child", ttl=60).start()
    while not election.is_leader:
        election.poll(1)
    return election.is_leader
