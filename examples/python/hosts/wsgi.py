"""Of all processes of a WSGI server one leads, and answers that it does. With the package and the server
installed, in this directory:

    ETCD=http://127.0.0.1:2379 gunicorn --workers 2 --bind 127.0.0.1:8080 wsgi:app
    ETCD=http://127.0.0.1:2379 uwsgi --master --die-on-term --processes 2 --http-socket 127.0.0.1:8080 --module wsgi:app

An election belongs to its process, and a server may load this file before it forks: the election is made and started with
the first request that a process serves. At an orderly end of the process it gives its place up.
"""

import os
import threading
from typing import Callable, Iterable, List, Optional, Tuple

from etcd_leader import Election

#: In seconds: a process that is killed keeps its place so long.
TTL = int(os.environ.get("TTL", "30"))
running: Optional[Election] = None
lock = threading.Lock()


def election() -> Election:
    """The one of this process, whichever of its threads asks first."""
    global running
    with lock:
        if running is None:
            running = Election(os.environ["ETCD"], "/wsgi", f"{os.uname().nodename}-{os.getpid()}", ttl=TTL).start()
        return running


def app(environ: object, start_response: Callable[[str, List[Tuple[str, str]]], object]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} leads: {election().is_leader}\n".encode()]
