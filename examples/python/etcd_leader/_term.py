"""One term, as the work of `lead()` sees it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Generator, Generic, Optional, TypeVar, Union

from ._errors import EtcdLeaderError, LostError, StoppedError, error_of
from ._events import Ended, Unelected
from ._handle import SLICE_S, Handle


def reason_of(end: Union[Unelected, Ended]) -> EtcdLeaderError:
    """Why a term is over, as it is raised."""
    error = error_of(end.code, end.message)
    return error if isinstance(error, StoppedError) else LostError(end.code, end.message)


class _End:
    """The end of a term: a flag, and beside it the clock."""

    def __init__(self, handle: Handle, token: int, flag: Union[threading.Event, asyncio.Event]) -> None:
        self._handle, self._token, self._flag = handle, token, flag
        self._why: Optional[EtcdLeaderError] = None

    def is_set(self) -> bool:
        """Reads the clock, not only a flag: a process that was stopped or asleep hears the truth from its first call on."""
        return self._flag.is_set() or self._handle.token() != self._token

    def _set(self, why: EtcdLeaderError) -> None:
        self._why = self._why or why
        self._flag.set()


class Loss(_End):
    """The end of a term, as a `threading.Event`: set when we do not lead any more. For any thread."""

    def __init__(self, handle: Handle, token: int) -> None:
        self._event = threading.Event()
        super().__init__(handle, token, self._event)

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Waits until it is set; for `timeout` seconds at most, or for ever. Whether it is. The sleep to take in the work."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            left = SLICE_S if until is None else min(SLICE_S, until - time.monotonic())
            if left <= 0:
                return False
            self._event.wait(left)
        return True


class AsyncLoss(_End):
    """The end of a term, as an `asyncio.Event`: set when we do not lead any more. For tasks of its event loop."""

    def __init__(self, handle: Handle, token: int) -> None:
        self._event = asyncio.Event()
        super().__init__(handle, token, self._event)

    async def wait(self) -> bool:
        """Waits until it is set. `await term.lost` is the same."""
        return await self._event.wait()

    def __await__(self) -> Generator[object, None, bool]:
        return self.wait().__await__()


AnyLoss = TypeVar("AnyLoss", bound=_End)


class _Term(Generic[AnyLoss]):
    def __init__(self, token: int, lost: AnyLoss) -> None:
        #: Larger than that of every leader before: send it along with each write, and let the receiver refuse a smaller one.
        self.token = token
        #: Set as soon as we do not lead any more.
        self.lost = lost

    def is_lost(self) -> bool:
        """Whether the term is over. Ask before each step that only the leader may take."""
        return self.lost.is_set()

    @property
    def reason(self) -> Optional[EtcdLeaderError]:
        """Why the term is over: a `StoppedError` (the place is kept while the work ends), or a `LostError` (it is gone, and
        another may lead soon). `None` while it is not, and until it is known."""
        return self.lost._why

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.token}{', lost' if self.is_lost() else ''}>"


class Term(_Term[Loss]):
    """What `with election.lead()` gives."""


class AsyncTerm(_Term[AsyncLoss]):
    """What `async with election.lead()` gives."""
