"""An election, as Python programs see it."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
import warnings
from types import TracebackType
from typing import Any, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Optional, Tuple, Type, TypeVar, Union, overload

from ._errors import BusyError, InvalidTypeError, StoppedError
from ._events import Event
from ._exit import is_over
from ._lead import Lead
from ._library import StrPath
from ._run import Run
from ._settings import Effective, OnEvent, Pem, Settings, callback, places, seconds, secret
from ._term import AsyncTerm, Term
from ._turn import Claim

T = TypeVar("T")


class Election:
    """A candidate in an election on etcd: many processes campaign for a key, one of them leads.

        with Election("http://127.0.0.1:2379", "/jobs/nightly", "host-1") as election:
            for event in election:
                print(event)

    Nothing is touched before `start()`, `with`, `async with` or `lead()`. Types, and texts with a NUL in them, are refused
    by the constructor; what else is wrong with an argument, by the start; both with an `InvalidError` that names the
    argument, the value and the remedy, and before any network is touched. An election that has ended can be started again.

    Threads: the election itself runs on a thread of the library's, whatever Python is doing. Every method may be called from
    every thread; one thread or task at a time takes events (else `BusyError`). `stop()` and the questions may be used in a
    signal handler and in the callback. Forks: in a child nobody leads, whatever takes events raises `ForkedError`, leaving
    a `with` does nothing, and `start()` begins an election of the child's own.

    endpoints           The servers of ONE cluster, 1 to 64, one or several: `http://host:port`, `https://host:port`,
                        `unix:///path` and `unixs:///path` (TLS) for a unix socket, or `srv://domain` and `srvs://domain` (TLS)
                        for the servers that the DNS lists as `_etcd-client._tcp.domain` and `_etcd-client-ssl._tcp.domain`;
                        their certificates name the domain. The port may be left out (2379), and so may
                        the scheme: then it is https if anything is said of certificates, else http. One text may hold several
                        with commas between them, as etcdctl takes them.
    key                 The election: all who campaign for the same key on the same cluster compete. 1 to 1,024 bytes of UTF-8,
                        taken byte for byte; no slash at the end, no double slash.
    name                What this candidate calls itself; the others are told the leader's name. 1 to 1,024 bytes. On API v2
                        give each candidate its own.
    ttl                 The lease in whole seconds, 1 to 300: after a crash the next one leads once it has run out.
    api                 Which of etcd's APIs, "v3" or "v2". They cannot see each other: all members must use the same one.
    renew_ms            How often a follower renews its lease, in milliseconds, up to 100,000; on v3 the leader and the next in
                        line renew twice as often. 0: half the ttl. Here and below, 0 stands for the default.
    step_down_ms        How long before the certain end of the lease leading ends by itself; 0: a fifth of the ttl.
    request_timeout_ms  How long a server may be silent before another one is asked too, from 20. Twice that must fit between a
                        renewal and stepping down; 0: as much as fits, at most 5,000.
    stop_timeout_ms     How long a stop waits for you to hear of it (in `lead()`: for the work to end), and then for etcd to take
                        the place away, up to an hour; 0: the ttl.
    on_store_reset      When the store has gone back in time (wiped, or restored from a backup): "continue" reports it, lets
                        nobody of ours lead for a ttl and the margin, and goes on; "stop" ends with `EL_STORE_RESET`.
    username, password  A user of etcd's. The password appears in no message, repr or traceback of ours.
    ca_file or ca_pem   Whom to trust on `https://`: only these then; without, those that the system trusts.
    cert_file or cert_pem, key_file or key_pem
                        Our own certificate, if etcd asks for one, and its private key, not encrypted.
    tls_server_name     The name that the certificates of all endpoints must hold; default: each endpoint's host.
    on_event            Called for each event, on the thread that takes it. Do not do the leading work in it: while it runs,
                        nobody can tell you that you do not lead any more. What it raises is raised by `poll()`, or by
                        whatever else took the event.
    library             The path of libetcd_leader.so.1. Otherwise it is the one that the variable ETCD_LEADER_LIBRARY names,
                        the one in this package's folder, the one that `make lib` has built if this is the repository, or
                        the one that the system's loader finds.
    """

    def __init__(
        self,
        endpoints: Union[str, Iterable[str]],
        key: str,
        name: str,
        *,
        ttl: int = 10,
        api: str = "v3",
        renew_ms: int = 0,
        step_down_ms: int = 0,
        request_timeout_ms: int = 0,
        stop_timeout_ms: int = 0,
        on_store_reset: str = "continue",
        username: Optional[str] = None,
        password: Optional[str] = None,
        ca_file: Optional[StrPath] = None,
        ca_pem: Optional[Pem] = None,
        cert_file: Optional[StrPath] = None,
        cert_pem: Optional[Pem] = None,
        key_file: Optional[StrPath] = None,
        key_pem: Optional[Pem] = None,
        tls_server_name: Optional[str] = None,
        on_event: Optional[OnEvent] = None,
        library: Optional[StrPath] = None,
    ) -> None:
        self._run: Optional[Run] = None
        hidden = places(endpoints)
        secrets = {"password": secret(password), "key_pem": secret(key_pem), "cert_pem": secret(cert_pem), "ca_pem": secret(ca_pem)}
        # Should anything be raised below: a traceback may show the variables of its frames.
        del endpoints, password, key_pem, cert_pem, ca_pem
        self._settings = Settings(
            hidden,
            key,
            name,
            ttl=ttl,
            api=api,
            renew_ms=renew_ms,
            step_down_ms=step_down_ms,
            request_timeout_ms=request_timeout_ms,
            stop_timeout_ms=stop_timeout_ms,
            on_store_reset=on_store_reset,
            username=username,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            tls_server_name=tls_server_name,
            library=library,
            **secrets,
        )
        self._on_event = callback(on_event)
        # Held in start(), by a thread of the process that is named.
        self._starting = (os.getpid(), threading.Lock())

    # From the start to the end.

    def start(self) -> Election:
        """Campaigns, for as long as it takes; does nothing if it runs. Returns at once. Errors on the way to etcd are retried
        for ever, and told as `Retrying`. Raises `InvalidError` if an argument cannot be used, `LibraryError`, and
        `BusyError` if it was stopped and has not ended: poll it to its end, or close it."""
        if self._starting[0] != os.getpid():
            self._starting = (os.getpid(), threading.Lock())
        with self._starting[1]:
            run = self._here
            if run is not None and not run.handle.is_freed:
                if not run.handle.has_ended:
                    if run.handle.is_stopped:
                        raise BusyError("EL_BUSY", "the election was stopped and has not ended; poll it to its end, or close it")
                    return self
                run.handle.abandon()
            self._run = None
            run = Run(self._settings, self._on_event)
            run.handle.start()
            self._run = run
        return self

    def poll(self, timeout: Optional[float] = None) -> bool:
        """Tells the callback what is due; if that is nothing, waits for it, for `timeout` seconds at most, or for ever.

        False once `Ended` was told; so loop while it is true. After a `stop()` a leader is told `Unelected`, and the call
        returns; calling it AGAIN says "I have ended the leading work", and gives the place up.
        Polling late costs freshness, never safety: nobody is told `Elected` who does not lead at that moment. Ctrl-C, and
        what else a signal handler raises, ends the wait.
        """
        limit = seconds("timeout", timeout)
        run = self._started()
        # The callback may have started it again.
        return run.poll(None if limit is None else time.monotonic() + limit) or self._run is not run

    def stop(self) -> None:
        """Asks for the end. From its return on `is_leader` is false on every thread. Never blocks and never calls back; for
        any thread, the callback and signal handlers. The place is given up when you come back for the next event after
        `Unelected`, or when `stop_timeout_ms` has passed without anybody having come for that; if we did not lead, at once.
        `Unelected` and `Ended` are all that is told from then on."""
        run = self._run
        if run is not None:
            run.handle.stop()

    def close(self) -> None:
        """Ends it, if that is left to do, and frees it. Tells nothing, and is itself the word that the leading work has ended.
        Blocks until etcd has confirmed that the place is given up, `stop_timeout_ms` at most; in an event loop take
        `async with`. Waits for another thread that polls, or is in lead(), until that returns; `BusyError` if it has not after
        twice `stop_timeout_ms` and a second (then it still has the turn, and close() may be called again), and in the callback."""
        run = self._here
        if run is not None:
            run.end(is_told=False)

    def __enter__(self) -> Election:
        return self.start()

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        """Stops, tells the callback what is left, and frees. The block has ended, so the place is given up."""
        run = self._here
        if run is not None and not run.handle.is_freed:
            run.end()

    async def __aenter__(self) -> Election:
        return self.start()

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        """The same, without holding the event loop up."""
        run = self._here
        if run is None or run.handle.is_freed:
            return
        if kind is GeneratorExit:
            # The task was dropped, or its loop closed: nothing can be awaited.
            run.handle.abandon()
        else:
            await run.end_async()

    # Events, one by one.

    def __iter__(self) -> Iterator[Event]:
        """The events, up to `Ended`. After `Unelected` with `EL_STOPPED` the place is given up when the loop comes back."""
        event = self._started().wait_next()
        while event is not None:
            yield event
            event = self._started().wait_next()

    def __aiter__(self) -> AsyncIterator[Event]:
        """The same in an event loop: asyncio's, uvloop's, or any other with `add_reader`."""
        return _Events(self)

    def fileno(self) -> int:
        """A descriptor that is readable while `poll(0)` has something to tell, for your own select, poll or epoll. It is not
        readable after `Ended`, nor, after a `stop()`, while your leading work ends: call `poll(0)` by yourself when it has. It
        stays the library's: never read from it or close it, and take it out of your loop before the election is closed."""
        return self._started().handle.fd()

    # One term.

    @overload
    def lead(self) -> Lead: ...

    @overload
    def lead(self, work: Callable[[AsyncTerm], Coroutine[Any, Any, T]]) -> Coroutine[Any, Any, T]: ...

    @overload
    def lead(self, work: Callable[[Term], T]) -> T: ...

    def lead(self, work: Optional[Callable[[Any], Any]] = None) -> Any:
        """Leads once: starts if it does not run, waits until we lead, does the work, and stops; the place is given up only when
        the work has ended (or `stop_timeout_ms` after a `stop()` from elsewhere). A place that is lost after a stop, since
        etcd is out of reach or its key was deleted, is lost without a word to the work; what leaves the block says so. Tidy
        up quickly, and send the token along to the last write.

            with election.lead() as term:               or    election.lead(work)
            async with election.lead() as term:         or    await election.lead(work)    where `async def work(term)`

        Nothing interrupts the work of a plain `with`: ask `term.is_lost()` before each step that only the leader may take,
        and sleep in `term.lost.wait(seconds)`. In `async with` the task is cancelled when the term is over, as by
        `asyncio.timeout()`: the work gets a CancelledError where it awaits, may clean up, and what leaves the block is:

        * what the work raised, if it is something else;
        * a `LostError`, also if the work ended well, if the lead was lost meanwhile; another may lead since;
        * a `StoppedError` if the election was stopped before the work began, or if the work was cancelled because of a stop
          (while it cleans up the place is still kept);
        * an `OverrunError`, which is a `StoppedError`, if the work ended later than `stop_timeout_ms` after a stop;
        * another `EtcdLeaderError` if the election cannot go on; `BusyError` while another call is under way.

        Before Python 3.11 nobody can tell who has cancelled a task: one that you cancel while it cleans up after a loss gets
        the `LostError`.

        The callback is told all events, those of the time of a plain `with` when its block has ended.
        """
        if work is None:
            return Lead(self._begin_lead)
        if not callable(work):
            raise InvalidTypeError("EL_INVALID", f"work is of the type {type(work).__name__}; give a function that takes the term")
        if inspect.iscoroutinefunction(work) or inspect.iscoroutinefunction(getattr(work, "__call__", None)):
            return self._lead_async(work)
        if _is_in_loop():
            raise InvalidTypeError(
                "EL_INVALID",
                "work is no `async def` function, and this thread's event loop would stand still for it; "
                "give an `async def` function, or call lead() on another thread",
            )
        with self.lead() as term:
            result = work(term)
            if inspect.isawaitable(result):
                _drop(result)
                raise InvalidTypeError(
                    "EL_INVALID",
                    f"work has returned a {type(result).__name__}, which has not ended; give an `async def` function that awaits it",
                )
        return result

    async def _lead_async(self, work: Callable[[AsyncTerm], Coroutine[Any, Any, T]]) -> T:
        async with self.lead() as term:
            return await work(term)

    def _begin_lead(self) -> Tuple[Run, Claim]:
        run = self.start()._started()
        claim = run.turn.take()
        if claim is None:
            raise StoppedError("EL_STOPPED", "the election was stopped before we led")
        return run, claim

    # What is so now.

    @property
    def is_running(self) -> bool:
        """Whether it was started and neither stopped nor ended."""
        run = self._here
        return run is not None and not run.handle.is_stopped and not run.handle.has_ended

    @property
    def is_leader(self) -> bool:
        """Whether we lead at this moment. Reads the clock, not a flag: a process that was stopped, asleep or busy hears the truth
        at once. It may turn true before `Elected` is told; it is false before `Unelected` is, and while that is told."""
        return self.token is not None

    @property
    def token(self) -> Optional[int]:
        """The token of our term if we lead at this moment, else `None`. `election.token == t` asks: still in that term?"""
        run = self._run
        return (run.handle.token() if run is not None else 0) or None

    @property
    def time_left(self) -> float:
        """For how many seconds from now leading is certain even if nothing more is heard of etcd; 0.0 if we do not lead."""
        run = self._run
        return run.handle.time_left_ms() / 1000 if run is not None else 0.0

    @property
    def leader(self) -> Optional[str]:
        """Who leads, as far as is known: our own name while we do. `None`: nobody is known to."""
        run = self._run
        name, token = run.handle.leader() if run is not None else ("", 0)
        return name if token else None

    @property
    def settings(self) -> Effective:
        """The arguments that took effect, with every default filled in, and the ttl that etcd has granted."""
        found = self._started().handle.effective()
        granted = found.granted_ttl_ms / 1000 or None
        return Effective(
            found.ttl_ms / 1000, granted, found.renew_ms, found.step_down_ms, found.request_timeout_ms, found.stop_timeout_ms
        )

    def __repr__(self) -> str:
        if not hasattr(self, "_settings"):
            return "<Election, not made yet>"
        what = f"leading with token {self.token}" if self.is_leader else "running" if self.is_running else "not running"
        return f"<Election {self._settings.key!r} as {self._settings.name!r}, {what}>"

    def __reduce__(self) -> Any:
        raise TypeError("an election belongs to its process; make a new one in the other, with the same arguments")

    def __del__(self) -> None:
        run: Optional[Run] = getattr(self, "_run", None)
        if run is not None and not (run.handle.is_freed or run.handle.has_ended or run.handle.is_inherited or is_over()):
            warnings.warn(f"{self!r} was never closed; leave its `with`, or call close()", ResourceWarning, source=self)

    @property
    def _here(self) -> Optional[Run]:
        """The run of this process, if there is one."""
        run = self._run
        return None if run is None or run.handle.is_inherited else run

    def _started(self) -> Run:
        run = self._run
        if run is None:
            raise StoppedError("EL_STOPPED", "the election was not started; call start(), or use `with`")
        run.handle.check_fork()
        return run


def _is_in_loop() -> bool:
    """Whether an event loop runs on this thread."""
    return asyncio._get_running_loop() is not None


def _drop(unfinished: Any) -> None:
    """Closes a coroutine; cancels a future or a task."""
    end = getattr(unfinished, "close", None) or getattr(unfinished, "cancel", None)
    if end is not None:
        end()


class _Events:
    """`async for event in election`."""

    def __init__(self, election: Election) -> None:
        self._election = election

    def __aiter__(self) -> _Events:
        return self

    async def __anext__(self) -> Event:
        event = await self._election._started().wait_next_async()
        if event is None:
            raise StopAsyncIteration
        return event
