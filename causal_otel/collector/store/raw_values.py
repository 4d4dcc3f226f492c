"""Looks for the values of a key in the bytes of serialized spans, so that most spans need not be parsed.

An attribute is a ``KeyValue``: its length, the key as field 1, the value as field 2. Serializers write the two in this
order, each once, and lengths in as few bytes as they need. Protobuf also allows other encodings. If the bytes look
different, the answer is that there may be such a value, and the span is parsed.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from causal_otel.collector.attributes import plain, text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RawValues"]

_KEY, _VALUE = 0x0A, 0x12
"""What the two fields of ``KeyValue`` begin with."""
_SHORT = 0x80
"""A length below it is one byte."""
_MOST_KNOWN = 1 << 12


class RawValues:
    """Finds out whether spans may have a value that is wanted of a key.

    Args:
        key: the key, which only attributes have.
        is_wanted: whether a value is, by its text.
    """

    def __init__(self, key: str, is_wanted: Callable[[str], bool]) -> None:
        self._known = _Known(is_wanted)
        self._name = name = key.encode("utf-8", "surrogatepass")
        self._sized = sized = bytes((min(len(name), _SHORT),)) + name
        self._padded = b"\0" + name
        # The length of an attribute but for the bytes of its value.
        self._frame = 1 + len(sized) + 2
        # If the end of the key is also its beginning, `split` may find it at the wrong place and miss the right one.
        overlaps = any(sized.endswith(sized[:size]) for size in range(1, len(sized)))
        self._can_tell = self._frame < _SHORT and not overlaps

    def may_be_in(self, content: bytes) -> bool:
        """Whether one of the spans that are in ``content`` may have such a value."""
        if not self._can_tell:
            return self._name in content
        parts = content.split(self._sized)
        frame, known = self._frame, self._known
        try:
            for before, after in pairwise(parts):
                size = after[1]
                # The length of the attribute is one byte and equals that of its two fields. If not, we cannot tell.
                if after[0] != _VALUE or before[-1] != _KEY or before[-2] != frame + size or known[after[2 : 2 + size]]:
                    return True
        except IndexError:
            return True
        # The last byte of a length that takes more bytes than it needs is 0.
        return self._padded in content


class _Known(dict[bytes, bool]):
    """Whether values are wanted, by their bytes; found out as they are asked for."""

    def __init__(self, is_wanted: Callable[[str], bool]) -> None:
        super().__init__()
        self._is_wanted = is_wanted

    def __missing__(self, raw: bytes) -> bool:
        if len(self) >= _MOST_KNOWN:
            self.clear()
        try:
            wanted = self._is_wanted(text(plain(AnyValue.FromString(raw))))
        except DecodeError:
            wanted = True
        self[raw] = wanted
        return wanted
