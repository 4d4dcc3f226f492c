"""The words of log records, by which their traces are found: the same for who indexes them and for who searches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from zlib import crc32

from causal_otel.collector.attributes import plain, text
from causal_otel.names import CODE_FILE_PATH, CODE_FUNCTION_NAME, CODE_LINE_NUMBER, EXCEPTION_STACKTRACE

if TYPE_CHECKING:
    from collections.abc import Collection

    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

__all__ = ["has_words", "read_words", "word_hash", "words_of"]

_WORD = re.compile(r"[^\W_]+")
_LEFT_OUT = frozenset({CODE_FILE_PATH, CODE_FUNCTION_NAME, CODE_LINE_NUMBER, EXCEPTION_STACKTRACE})
"""Attributes that would make every record of a file, or of a failure, look alike."""
_LONGEST = 16_384
"""Characters of a record that are looked at."""


def words_of(record: LogRecord) -> set[str]:
    """The words of a record's body and of its attributes' values: runs of letters and digits, in lower case."""
    parts = [text(plain(record.body))]
    parts += [text(plain(pair.value)) for pair in record.attributes if pair.key not in _LEFT_OUT]
    return _words("\n".join(parts)[:_LONGEST])


def read_words(text: str) -> tuple[str, ...]:
    """The words that somebody asks for, sorted.

    Raises:
        ValueError: There is none.
    """
    found = _words(text)
    if not found:
        raise ValueError("give one word or more, all of which are in one log record, such as timeout or order 4711")
    return tuple(sorted(found))


def has_words(record: LogRecord, wanted: Collection[str]) -> bool:
    """Whether a record has all of these words."""
    return words_of(record).issuperset(wanted)


def word_hash(word: str) -> int:
    """32 bits of a word. Two words may share them: what is found has to be looked at."""
    return crc32(word.encode("utf-8", "surrogatepass"))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))
