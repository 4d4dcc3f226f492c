"""What the chunks of a day are compressed with: bits of spans that are likely to come again.

A single span compresses to a third of what it takes otherwise, and in less time. An open day learns from its first
spans, and again when it has seen more; a closed day's dictionary is made of spans from all of it.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from typing import TYPE_CHECKING

from causal_otel.collector.store import chunks
from causal_otel.collector.store.otlp_slim import SlimSpan

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from causal_otel.collector.store.incoming import Piece
    from causal_otel.collector.store.incoming_logs import LogPiece

__all__ = ["CLOSED_BYTES", "Dictionary", "trained"]

CLOSED_BYTES = 32 * 1024
"""Of a closed day's: as far as zlib looks back."""
_OPEN_BYTES = 8 * 1024
"""Of an open day's at a time: zlib goes through it for every chunk."""
_LESSONS = (0, 2_000, 20_000)
"""After how many chunks to learn."""
_FIRST_SAMPLES = 24
_LONGEST_SAMPLE = 2 * 1024
_SAMPLES = 3
"""Spans to remember of each commit."""


class Dictionary:
    """The dictionary of an open file.

    Args:
        connection: to the file.
        key: what ``meta`` has it by.
    """

    def __init__(self, connection: sqlite3.Connection, key: str = "dictionary") -> None:
        self._connection = connection
        self._key = key
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        whole: bytes = row[0] if row else b""
        self._size = len(whole)
        self._packer = chunks.Packer(whole[-_OPEN_BYTES:], begin=max(0, len(whole) - _OPEN_BYTES))
        self._lessons = -(-len(whole) // _OPEN_BYTES)
        self._samples: deque[bytes] = deque(maxlen=64)

    def pack(self, content: Iterable[chunks.Group]) -> bytes:
        """A chunk compressed with the newest part."""
        return self._packer.pack(content)

    def learn(self, pieces: Sequence[Piece | LogPiece], chunks_before: int) -> None:
        """Look at what is to be packed next, and make a new part if it is time to."""
        wanted = _SAMPLES if self._samples else _FIRST_SAMPLES
        for piece in random.sample(pieces, min(wanted, len(pieces))):
            sample = next(iter(piece.parts.values()))[0]
            if len(sample) <= _LONGEST_SAMPLE:
                self._samples.append(chunks.spans_field([sample]))
        if self._lessons < len(_LESSONS) and chunks_before >= _LESSONS[self._lessons]:
            part = b"".join(self._samples)[-_OPEN_BYTES:]
            self._packer = chunks.Packer(part, begin=self._size)
            self._size += len(part)
            self._lessons += 1
            self._connection.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE"
                " SET value = CAST(value || excluded.value AS BLOB)",
                (self._key, part),
            )


def trained(samples: Iterable[bytes]) -> bytes:
    """A closed day's dictionary, made of serialized spans."""
    whole = list(samples)
    seen = Counter(pair for span in whole for pair in SlimSpan.FromString(span).attributes)
    runs: Counter[bytes] = Counter()
    for span in whole:
        run: list[bytes] = []
        for pair in SlimSpan.FromString(span).attributes:
            if seen[pair] > 2:
                run.append(pair)
            elif run:
                runs[_fields(run)] += 1
                run = []
        if run:
            runs[_fields(run)] += 1
    # zlib finds what is near the end at the least cost, so the most frequent comes last; whole spans give the rest.
    parts = [chunks.spans_field([span]) for span in whole[:16]]
    size = sum(map(len, parts))
    chosen = []
    for run_bytes, _ in runs.most_common():
        if size + len(run_bytes) > CLOSED_BYTES:
            break
        chosen.append(run_bytes)
        size += len(run_bytes)
    return b"".join([*reversed(chosen), *parts])[-CLOSED_BYTES:]


def _fields(attributes: Sequence[bytes]) -> bytes:
    fields: bytes = SlimSpan(attributes=attributes).SerializeToString()
    return fields
