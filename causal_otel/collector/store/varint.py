"""Unsigned integers in as few bytes as they need, as protobuf writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["decode", "encode", "read"]


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
    if data.isascii():  # no value takes more than a byte
        return list(data)
    values = []
    value = shift = 0
    for byte in data:
        if byte < 0x80:
            values.append(value | byte << shift)
            value = shift = 0
        else:
            value |= (byte & 0x7F) << shift
            shift += 7
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
