"""What spans are told apart by: a series is a service's operation of a kind, a system and a version."""

from __future__ import annotations

from typing import NamedTuple

from causal_otel.collector.attributes import KINDS

__all__ = ["Series", "SeriesKey", "SeriesPool"]

_CALLS = (KINDS.index("client"), KINDS.index("producer"))
_ENTRIES = (KINDS.index("server"), KINDS.index("consumer"))


class SeriesKey(NamedTuple):
    """The columns of the table ``series``.

    Attributes:
        service: the service's name.
        operation: the span's name.
        kind: the number of the span's kind in :data:`~causal_otel.collector.attributes.KINDS`.
        system: what the span talks to, see :mod:`causal_otel.collector.systems`.
        version: the service's version; empty: it does not tell one.
        root: 1 if the spans have no parent, else 0.
    """

    service: str
    operation: str
    kind: int
    system: str
    version: str
    root: int


class Series:
    """A series, once in memory: compared by what it is, not by what it says, which is quicker.

    Args:
        key: what it says.

    Attributes:
        key: likewise.
        service: the service's name.
        is_call: whether its spans ask for something elsewhere.
        is_entry: whether they begin something in their service: a trace, or what was asked for.
    """

    __slots__ = ("is_call", "is_entry", "key", "service")

    def __init__(self, key: SeriesKey) -> None:
        self.key = key
        self.service = key.service
        self.is_call = key.kind in _CALLS
        self.is_entry = bool(key.root) or key.kind in _ENTRIES


class SeriesPool:
    """Gives every key one series, as long as there are few.

    Args:
        size: how many to remember.
    """

    def __init__(self, size: int = 1 << 15) -> None:
        self._size = size
        self._known: dict[tuple[str, str, int, str, str, int], Series] = {}
        self.get = self._known.get

    def make(self, key: tuple[str, str, int, str, str, int]) -> Series:
        """The series of a key that is not known yet."""
        if len(self._known) >= self._size:
            self._known.clear()
        made = self._known[key] = Series(SeriesKey(*key))
        return made
