"""The parts of an operation's time: waiting for a pool, connecting, the server, fetching.

What an operation waits for is often seen by a wrapper further inside, which has no operation to tell: the checkout of a
connection, inside a command. It leaves a note for whatever is under way in this task or thread, and the operation takes
it at its end. So nothing is made current for that, and a call that waits for nothing pays for one look.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING

from causal_otel.names import (
    CAUSAL_ATTEMPTS,
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_CONNECT_PROXY,
    CAUSAL_CONNECT_TLS,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAITING,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "LEAST",
    "apart",
    "forget",
    "note",
    "noted",
    "noteworthy",
    "parts_of",
    "retried",
    "take",
    "tell",
    "together",
    "unread",
]

LEAST = 0.001
"""Seconds from which on a part is recorded: a shorter one would cost more than it tells."""

_INSIDE = (CAUSAL_CONNECT_DNS, CAUSAL_CONNECT_PROXY, CAUSAL_CONNECT_TLS)  # parts of a part
_NUMBERS = (CAUSAL_ATTEMPTS, CAUSAL_POOL_SIZE, CAUSAL_POOL_WAITING)  # no time, but noted as parts are
_NO_PARTS = (*_INSIDE, *_NUMBERS)
_KEPT = 256  # notes that nobody has taken: no operation was recorded around them, or it has tried very often

_notes: ContextVar[tuple[tuple[float, str, float], ...]] = ContextVar("causal_otel_parts", default=())
"""When each part began, by ``perf_counter()``, its key and its seconds. Nobody changes it: tasks begin with their
parent's."""


unread = _notes.get
"""What has been noted and not been taken, whatever it is: ask this before anything else."""


def note(key: str, seconds: float) -> None:
    """Leave a note for the operation under way: it was in this part until now.

    An operation that runs in another task or thread does not see it. What is less than a millisecond is not noted, but
    for connecting: a driver that is refused ten times in a row has waited for that, and for no server.

    Args:
        key: the attribute, such as ``causal.pool.wait``.
        seconds: how long it was.
    """
    if seconds >= LEAST or key == CAUSAL_CONNECT:
        _notes.set((*_notes.get()[-_KEPT:], (perf_counter() - seconds, key, seconds)))


def tell(key: str, number: int) -> None:
    """Leave a number that goes with a part, such as how big a pool is; of several for one key the last counts."""
    _notes.set((*_notes.get()[-_KEPT:], (perf_counter(), key, number)))


def retried() -> None:
    """Note that the operation under way is about to be tried once more."""
    tell(CAUSAL_ATTEMPTS, 1)


def noted(since: float) -> float:
    """How many seconds have been noted of what began after ``since``: a part around it is only the rest."""
    notes = _notes.get()
    if not notes:
        return 0.0
    return sum(seconds for began, key, seconds in notes if began >= since and key not in _NO_PARTS)


def forget(since: float) -> None:
    """Forget what was noted of what began after ``since``: a part around it says all that is to be said."""
    notes = _notes.get()
    if notes:
        _notes.set(tuple(note for note in notes if note[0] < since))


def take(since: float) -> dict[str, float] | None:
    """Take what has been noted of an operation; parts of one key are added up. None: nothing has been.

    Args:
        since: when the operation began, by ``perf_counter()``: what was noted of earlier ones is forgotten.
    """
    notes = _notes.get()
    if not notes:
        return None
    _notes.set(())
    found: dict[str, float] = {}
    for began, key, seconds in notes:
        if began < since:
            continue
        if key == CAUSAL_ATTEMPTS:
            found[key] = found.get(key, 1) + 1
        elif key in _NUMBERS:
            found[key] = seconds
        else:
            found[key] = found.get(key, 0.0) + seconds
    return found or None


@contextmanager
def apart() -> Iterator[None]:
    """A block whose notes are its own: take them inside. Those of before are there again after it."""
    notes = _notes.get()
    _notes.set(())
    try:
        yield
    finally:
        _notes.set(notes)


def parts_of(since: float, seconds: float, rest: str) -> dict[str, float]:
    """All parts of an operation that are recorded, once it is over.

    Args:
        since: when it began, by ``perf_counter()``.
        seconds: how long it took.
        rest: the key for what nothing was noted of.
    """
    found = take(since) or {}
    left = seconds - together(found)
    if found:
        found = noteworthy(found)
    if left >= LEAST:
        found[rest] = found.get(rest, 0.0) + left
    return found


def together(parts: Mapping[str, float]) -> float:
    """How many seconds the parts of an operation are: those inside another one do not count beside it."""
    return sum(seconds for key, seconds in parts.items() if key not in _NO_PARTS)


def noteworthy(parts: Mapping[str, float]) -> dict[str, float]:
    """Those of the parts that are recorded. The numbers are whole, though they were added up with times."""
    return {
        key: int(value) if key in _NUMBERS else value
        for key, value in parts.items()
        if value >= LEAST or key in _NUMBERS
    }
