"""Of all processes of all Celery workers one leads, and does what only one may do. With the package and celery
installed, in this directory:

    ETCD=http://127.0.0.1:2379 BROKER=memory:// celery -A celery_worker worker --concurrency 2

A process of the pool ends without Python's own end: `worker_process_shutdown` is where it gives its place up.
"""

import os
from typing import Any, Optional

from celery import Celery
from celery.signals import worker_process_init, worker_process_shutdown
from etcd_leader import Election

#: In seconds: a process that is killed keeps its place so long.
TTL = int(os.environ.get("TTL", "30"))
app = Celery("jobs", broker=os.environ["BROKER"])
election: Optional[Election] = None


@worker_process_init.connect
def join(**_: Any) -> None:
    """In each process of the pool, after the fork."""
    global election
    election = Election(os.environ["ETCD"], "/celery", f"{os.uname().nodename}-{os.getpid()}", ttl=TTL).start()


@worker_process_shutdown.connect
def leave(**_: Any) -> None:
    if election is not None:
        election.close()


@app.task
def nightly() -> str:
    if election is None or not election.is_leader:
        return "another process leads"
    return f"done under token {election.token}"
