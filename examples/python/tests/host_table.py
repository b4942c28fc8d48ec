"""Not a test of CI: tries the library in each host, and writes the table of core/docs/hosts.md. `make hosts` runs it, through
.ci/hosts, which builds and brings the programs first and names the folder that holds them."""

import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

import support  # noqa: F401
from support import PYTHON, ROOT
from support.etcd import Etcd, Ports, temporary
from support.hosts import STEPS, TTL, Claims, Host, pool, programs

BIN = Path(sys.executable).parent
HOSTS = PYTHON / "hosts"
EXAMPLES = ROOT / "examples"


class Row(NamedTuple):
    name: str
    try_it: Callable[[Host], Iterator[str]]


def told(name: str, *command: str, statuses: Sequence[int] = (0,)) -> Row:
    """A program that takes endpoint, key, name and ttl at its end."""

    def run(host: Host) -> Iterator[str]:
        return programs(host, lambda me: [*command, host.etcd.url, host.key, me, str(TTL)], statuses)

    return Row(name, run)


def patched(name: str, patch: str, script: str, last: Optional[str] = None) -> Row:
    """The same in Python, after these lines; `last` is another argument than the ttl."""
    code = f"import runpy, sys; {patch}; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"

    def run(host: Host) -> Iterator[str]:
        start = [sys.executable, "-c", code, str(PYTHON / script), host.etcd.url, host.key]
        return programs(host, lambda me: [*start, me, last or str(TTL)])

    return Row(name, run)


def lead(host: Host) -> Iterator[str]:
    work = ["--", "/bin/sh", "-c", 'echo "$0: elected"; exec sleep 1000']
    options = ["--endpoints", host.etcd.url, "--key", host.key, "--ttl", str(TTL)]
    # It ends as its command does: 128 + SIGTERM.
    return programs(host, lambda me: [str(ROOT / "target/release/lead"), *options, "--name", me, *work, me], (143,))


def server(name: str, *command: str, serves: bool = False, **variables: str) -> Row:
    """A server of two processes, which have the example's key."""

    def run(host: Host) -> Iterator[str]:
        host.env.update(variables)
        port = Ports(1)
        number = port.numbers[0]
        words = [word.format(port=number, etcd=host.etcd.url, key=host.key) for word in command]
        yield from pool(host, lambda: host.start(words), Claims(number).ask if serves else lambda: None)
        port.close()

    return Row(name, run)


def rows(built: Path) -> List[Row]:
    modules = built / "node_modules"
    campaign = str(EXAMPLES / "node/campaign.js")
    uwsgi = [str(BIN / "uwsgi"), "--master", "--die-on-term", "--processes=2", "--need-app"]
    gunicorn = [str(BIN / "gunicorn"), "--workers=2", "--bind=127.0.0.1:{port}"]
    return [
        told("C, `el_poll` in a loop of its own", str(ROOT / "target/release/campaign")),
        told("C++", str(ROOT / "target/release/campaign-cpp")),
        told("GLib's main loop", str(built / "glib")),
        told("libuv's loop", str(built / "libuv")),
        Row("`lead`, with any command", lead),
        told("Python", sys.executable, str(PYTHON / "campaign.py")),
        patched("asyncio", "pass", "service.py", "0"),
        patched("uvloop", "import uvloop; uvloop.install()", "service.py", "0"),
        patched("gevent", "from gevent import monkey; monkey.patch_all()", "campaign.py"),
        patched("eventlet", "import eventlet; eventlet.monkey_patch()", "campaign.py"),
        told("Node.js", "node", campaign),
        told("Bun", str(modules / "bun"), campaign),
        told("Deno", str(modules / "deno"), "run", "--allow-ffi", "--allow-read", "--allow-env", str(built / "campaign.mjs")),
        server("Node.js, the module `cluster`", "node", str(EXAMPLES / "node/cluster.js"), "{etcd}", "{key}", "2"),
        server("PM2", str(modules / ".bin/pm2-runtime"), "start", str(EXAMPLES / "node/hosts/pm2.config.js"), PM2_HOME=str(built / "pm2")),
        server("gunicorn", *gunicorn, "wsgi:app", serves=True),
        server("gunicorn with `--preload`", *gunicorn, "--preload", "wsgi:app", serves=True),
        server("uWSGI", *uwsgi, "--http-socket=127.0.0.1:{port}", "--module=wsgi:app", serves=True),
        server("Celery", str(BIN / "celery"), "-A", "celery_worker", "worker", "--concurrency=2", BROKER="memory://"),
        server("supervisord", str(BIN / "supervisord"), "--configuration", str(HOSTS / "supervisord.conf"), PYTHON=sys.executable),
    ]


#: The keys that examples have.
KEYS: Dict[str, str] = {
    "PM2": "/pm2", "gunicorn": "/wsgi", "gunicorn with `--preload`": "/wsgi", "uWSGI": "/wsgi", "Celery": "/celery",
    "supervisord": "/supervised",
}  # fmt: skip


def fare(row: Row) -> List[str]:
    """The steps that were seen."""
    etcd, folder = Etcd(()), temporary()
    host = Host(etcd, KEYS.get(row.name, "/host"), folder, {"PYTHONPATH": f"{PYTHON}{os.pathsep}{HOSTS}"})
    seen = []
    try:
        for step in row.try_it(host):
            seen.append(step)
    except Exception:
        print(f"{row.name}:\n{traceback.format_exc()}", file=sys.stderr)
    finally:
        host.end()
        etcd.end()
        shutil.rmtree(folder)
    return seen


def main(built: Path, wanted: List[str]) -> int:
    print(f"| host | {' | '.join(STEPS)} |\n|---|{'---|' * len(STEPS)}", flush=True)
    is_well = True
    for row in rows(built):
        if wanted and row.name not in wanted:
            continue
        seen = fare(row)
        is_well &= len(seen) == len(STEPS)
        print(f"| {row.name} | {' | '.join('yes' if step in seen else '**no**' for step in STEPS)} |", flush=True)
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
