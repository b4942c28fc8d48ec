#!/usr/bin/env python3
"""A server that serves only while it leads: of many hosts, one at a time has its port open. At the top of the
repository:

    make lib
    python3 examples/python/service.py http://127.0.0.1:2379 /services/clock host-1 8080

It answers each line with its name, its token and the time: type lines into `nc 127.0.0.1 8080`. When the lead is
lost, the task that serves is cancelled, its connections are closed, and it waits for the next term. On Ctrl-C or SIGTERM it
is cancelled as well, and the next host serves within milliseconds after the last connection here was closed.
"""

import asyncio
import contextlib
import signal
import sys
import time
from typing import Dict

from etcd_leader import AsyncTerm, Election, EtcdLeaderError, LostError


async def talk(name: str, term: AsyncTerm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each line, as long as we lead."""
    with contextlib.suppress(ConnectionError):
        # Before each answer the one question that no event can answer in time.
        while await reader.readline() and not term.is_lost():
            writer.write(f"{name} {term.token} {time.time():.3f}\n".encode())
            await writer.drain()
    writer.close()


async def serve(name: str, port: int, term: AsyncTerm) -> None:
    """Serves until it is cancelled."""
    is_over = False
    talks: "Dict[asyncio.Task[None], asyncio.StreamWriter]" = {}

    def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # One may have come in while the others were being closed.
        if is_over:
            return writer.close()
        task = asyncio.ensure_future(talk(name, term, reader, writer))
        talks[task] = writer
        task.add_done_callback(lambda task: talks.pop(task))

    server = await asyncio.start_server(on_client, "127.0.0.1", port)
    print(f"{name}: serving on port {port} with token {term.token}", flush=True)
    try:
        await asyncio.Event().wait()  # For ever: this task is cancelled.
    finally:
        is_over = True
        server.close()
        for task, writer in talks.items():
            task.cancel()
            writer.close()
        await asyncio.gather(*talks, return_exceptions=True)
        await server.wait_closed()
        print(f"{name}: not serving any more", flush=True)


async def campaign(endpoint: str, key: str, name: str, port: int) -> None:
    election = Election(endpoint, key, name, ttl=4)
    while True:
        try:
            async with election.lead() as term:
                await serve(name, port, term)
        except LostError as loss:
            print(f"{name}: {loss}", flush=True)


async def main() -> int:
    if len(sys.argv) != 5:
        print(f"usage: {sys.argv[0]} endpoint key name port", file=sys.stderr)
        return 2
    endpoint, key, name, port = sys.argv[1:5]
    task = asyncio.ensure_future(campaign(endpoint, key, name, int(port)))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return 0
    except EtcdLeaderError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
