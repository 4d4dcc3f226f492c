"""Unsigned integers in as few bytes as they need, as protobuf writes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["decode", "encode", "read"]

_LONGER = re.compile(rb"[\x80-\xff]+.", re.DOTALL)
"""A value of more than a byte."""


def encode(values: Iterable[int]) -> bytes:
    """``values``, one after the other."""
    out = bytearray()
    for value in values:
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)


def decode(data: bytes) -> list[int]:
    """All values in ``data``."""
    values: list[int] = []
    position = 0
    for longer in _LONGER.finditer(data):
        values += data[position : longer.start()]
        position = longer.end()
        value = 0
        for byte in reversed(longer[0]):
            value = value << 7 | byte & 0x7F
        values.append(value)
    values += data[position:]
    return values


def read(data: bytes, position: int) -> tuple[int, int]:
    """The value at ``position``, and the position after it.

    Raises:
        IndexError: ``data`` ends before the value does.
    """
    value = shift = 0
    while (byte := data[position]) > 0x7F:
        value |= (byte & 0x7F) << shift
        shift += 7
        position += 1
    return value | byte << shift, position + 1
