"""Wrong tokens are answered late, so that nobody can guess the token by trying thousands in a second.

The delay is counted for each address and grows with each wrong token. A right token never waits. The address is that of
the connection, not that of a header such as ``X-Forwarded-For``, because the client itself can write headers.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

__all__ = ["FailedLogins"]

_ADDRESSES = 4096
_MOST_WAITING = 32
"""Wrong tokens of one address that may wait at once. A request beyond it is refused without a look at its token.

Otherwise many connections at once could try many tokens in spite of the delay."""


@dataclass(slots=True)
class _Address:
    failures: int = 0
    last: float = 0.0
    waiting: int = 0


class FailedLogins:
    """Counts wrong tokens by address, and delays the answers. For one event loop.

    Args:
        first: how long the first wrong token waits, in seconds; each one after it twice as long.
        longest: how long one waits at the most.
        forget: after how many seconds without a wrong token an address begins anew.
    """

    def __init__(self, first: float = 0.25, longest: float = 5.0, forget: float = 600.0) -> None:
        self._first = first
        self._longest = longest
        self._forget = forget
        self._addresses: dict[str, _Address] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def busy(self, address: str) -> bool:
        """Whether so many wrong tokens of ``address`` wait that its next one is not to be looked at."""
        found = self._addresses.get(address)
        return found is not None and found.waiting >= _MOST_WAITING

    def delay(self, address: str) -> float:
        """How long the next wrong token of ``address`` will wait, in seconds."""
        found = self._addresses.get(address)
        if found is None or time.monotonic() - found.last > self._forget:
            return self._first
        return min(self._longest, self._first * 2.0 ** min(found.failures, 30))

    async def failed(self, address: str) -> None:
        """A wrong token came from ``address``: wait before answering it."""
        delay = self.delay(address)
        found = self._addresses.pop(address, None) or _Address()
        if delay == self._first:
            found.failures = 0
        found.failures += 1
        found.last = time.monotonic()
        self._addresses[address] = found  # the latest is the last
        if len(self._addresses) > _ADDRESSES:
            del self._addresses[next(iter(self._addresses))]
        found.waiting += 1
        try:
            await asyncio.sleep(delay)
        finally:
            found.waiting -= 1

    def succeeded(self, address: str) -> None:
        """A right token came from ``address``: it begins anew."""
        self._addresses.pop(address, None)
