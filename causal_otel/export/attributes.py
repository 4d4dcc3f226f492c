"""Attributes to OTLP bytes: the common, repeated ones from a cache of ready bytes, the others as the SDK treats them.

The result is exactly that of OpenTelemetry's own code. What the user set is made valid as the SDK's
``BoundedAttributes`` does it, but on the export thread instead of the caller's. A valid value is encoded as
``opentelemetry-exporter-otlp-proto-common`` does it. Where these would raise, only the attribute is dropped.

Field numbers: ``opentelemetry/proto/common/v1/common.proto``. A tag byte is the field number times 8 plus the wire
type: 0 varint, 1 eight bytes, 2 length and content, 5 four bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from causal_otel._internal import faults
from causal_otel.engine.redaction import Sanitised

if TYPE_CHECKING:
    from causal_otel.engine.redaction import Redaction

__all__ = ["AttributeEncoder", "any_value", "field", "optional", "text", "valid", "varint"]

_CACHED_VALUES = 512
"""Values of one key that are cached, so that a key whose values never repeat evicts no other key's."""
_CACHED_SIZE = 2048
"""Bytes of a key, a value and their encoding that are cached at the most. Longer ones seldom repeat."""
_CACHE_SIZE = 1 << 20
"""Bytes in all caches together; beyond that they are emptied."""
_PYTHON_ADDS = 300
"""Bytes that Python's objects add to each entry, about."""

_ROOM = 94
"""How deeply messages may be nested in one value: a protobuf decoder takes 100 in all and rejects the whole request
beyond that. A sequence takes two, a mapping three."""

_SHORT = 100
"""Characters of a key and a text that are encoded by a shorter way: the length in bytes of all of it has its varint."""

Value = TypeVar("Value", str, int, bool)

_double = struct.Struct("<d").pack


def _long_varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


# Nearly every length and most numbers are small: a list index costs a third of the loop.
_VARINTS = tuple(map(_long_varint, range(1024)))


def varint(number: int) -> bytes:
    """A non-negative number in protobuf's variable-length encoding."""
    return _VARINTS[number] if number < 1024 else _long_varint(number)


def field(tag: bytes, content: bytes) -> bytes:
    """A field of wire type 2: tag, length, content."""
    return tag + varint(len(content)) + content


def text(value: object | None) -> bytes:
    """UTF-8 of a name or a description, which must not cost the span: what has no encoding becomes ``?``."""
    if value is None:
        return b""
    return (value if isinstance(value, str) else str(value)).encode("utf-8", "replace")


def optional(tag: bytes, value: str | None) -> bytes:
    """A field with the text of a name or a description, left out where there is none, as protobuf does."""
    return field(tag, text(value)) if value else b""


class AttributeEncoder:
    """Encodes attributes into one field of one message. For one thread.

    Args:
        tag: of the field that holds the ``KeyValue`` messages.
        raw: whether the attributes are as the user set them, to be made valid first.
        max_length: of strings, in characters; longer ones are cut if ``raw``.
        redaction: takes secrets out of values, before they are cut; None: they stay.
    """

    __slots__ = (
        "_blocks",
        "_bools",
        "_floats",
        "_ints",
        "_max_length",
        "_raw",
        "_redaction",
        "_size",
        "_strings",
        "_tag",
    )

    def __init__(
        self, tag: bytes, *, raw: bool = False, max_length: int | None = None, redaction: Redaction | None = None
    ) -> None:
        self._tag = tag
        self._redaction = redaction
        self._raw = raw
        self._max_length = max_length
        # Key -> value -> the whole field; two lookups by a string cost less than one by a tuple. A cache each for
        # three types, because 1 == True == 1.0. No values of floats, which seldom repeat (and 0.0 == -0.0).
        self._strings: dict[str, dict[str, bytes]] = {}
        self._ints: dict[str, dict[int, bytes]] = {}
        self._bools: dict[str, dict[bool, bytes]] = {}
        self._floats: dict[str, bytes] = {}  # all but the eight bytes of the number
        # By the id of a dict that spans share and nobody changes. The dict is stored too, so that its id is not reused.
        self._blocks: dict[int, tuple[Mapping[Any, Any], bytes]] = {}
        self._size = 0

    def shared(self, attributes: Mapping[Any, Any]) -> bytes:
        """The fields of ``attributes`` that many spans share and nobody changes. Never raises, as :meth:`extend`."""
        found = self._blocks.get(id(attributes))
        if found is None:
            parts: list[bytes] = []
            known = self.extend(parts, attributes)
            found = attributes, b"".join(parts)
            size = len(found[1])
            if known and size <= _CACHED_SIZE:
                self._make_room(size + _PYTHON_ADDS * len(attributes))
                self._blocks[id(attributes)] = found
        return found[1]

    def extend(self, parts: list[bytes], attributes: Mapping[Any, Any]) -> bool:
        """Append the fields of all ``attributes`` to ``parts``; whether the caches had all of them.

        Never raises: an attribute that has no encoding is left out and reported as a fault of ours.
        """
        start = len(parts)
        known = True
        strings = self._strings
        ints = self._ints
        try:
            for key, value in attributes.items():
                kind = type(value)
                try:
                    if kind is str:
                        parts.append(strings[key][value])
                        continue
                    if kind is int:
                        parts.append(ints[key][value])
                        continue
                    if kind is float:
                        parts.append(self._floats[key] + _double(value))
                        continue
                    if kind is bool:
                        parts.append(self._bools[key][value])
                        continue
                    if kind is Sanitised:
                        parts.append(strings[key][value])
                        continue
                except KeyError:
                    pass
                known = False
                parts.append(self._new(key, value))
        except _InvalidKeyError:
            del parts[start:]
        else:
            return known
        parts += [self._field(key, value) for key, value in self._with_valid_keys(attributes).items()]
        return False

    def encode(self, attributes: Mapping[Any, Any] | None, max_count: int | None = None) -> tuple[bytes, int]:
        """The fields of ``attributes``, and how many were dropped for their keys or for ``max_count``.

        Never raises, as :meth:`extend`.
        """
        if not attributes:
            return b"", 0
        valid = attributes
        if self._raw:
            valid = self._with_valid_keys(attributes)
            if max_count is not None:
                for key in list(valid)[: max(len(valid) - max_count, 0)]:  # the oldest go
                    del valid[key]
        parts: list[bytes] = []
        self.extend(parts, valid)
        return b"".join(parts), len(attributes) - len(valid)

    def _new(self, key: Any, value: Any) -> bytes:
        """The field of an attribute that is in no cache yet; it is cached if it is of a type whose values repeat."""
        if type(key) is not str or not key:
            raise _InvalidKeyError
        if self._redaction is not None:
            shown = self._redaction.value(key, value)
            if shown is not value:  # not cached, so that each redaction is counted
                return self._encoded(key, shown)
        encoded = self._encoded(key, value)
        kind = str if type(value) is Sanitised else type(value)
        # The cache holds the value besides its encoding, which is shorter if the value was cut.
        size = len(encoded) + len(key) + (len(value) if kind is str else 0)
        if not encoded or size > _CACHED_SIZE:
            return encoded
        self._make_room(size)
        if kind is str:
            _remember(self._strings, key, value, encoded)
        elif kind is int:
            _remember(self._ints, key, value, encoded)
        elif kind is float:
            self._floats[key] = encoded[:-8]
        elif kind is bool:
            _remember(self._bools, key, value, encoded)
        return encoded

    def _make_room(self, size: int) -> None:
        """For another entry in one of the caches."""
        if self._size > _CACHE_SIZE:
            for cache in (self._blocks, self._strings, self._ints, self._bools, self._floats):
                cache.clear()
            self._size = 0
        self._size += size + _PYTHON_ADDS

    def _field(self, key: Any, value: Any) -> bytes:
        return self._encoded(key, value if self._redaction is None else self._redaction.value(key, value))

    def _encoded(self, key: Any, value: Any) -> bytes:
        try:
            if self._raw:
                value = _valid(value, self._max_length)
            if type(value) is str and len(value) <= _SHORT and len(key) <= _SHORT:
                return self._tag + _short_text(key, value)
            return field(self._tag, _key_value(key, value, _ROOM))
        except Exception:
            faults.report("export: attribute")
            return b""

    def _with_valid_keys(self, attributes: Mapping[Any, Any]) -> dict[Any, Any]:
        if not self._raw:
            return dict(attributes)
        valid = {}
        for key, value in attributes.items():
            try:
                name = key if type(key) is str else _valid_key(key)
            except Exception:
                faults.report("export: attribute key")
                continue
            if name:
                valid[name] = value
        return valid


class _InvalidKeyError(Exception):
    """A key that is no string or is empty."""


def _remember(cache: dict[str, dict[Value, bytes]], key: str, value: Value, encoded: bytes) -> None:
    values = cache.setdefault(key, {})
    if len(values) >= _CACHED_VALUES:
        values.clear()
    values[value] = encoded


# -- as the SDK makes attributes valid (opentelemetry.attributes.BoundedAttributes) ------------------------------


def _prints(value: object) -> bool:
    """Whether its class says how to print it."""
    return type(value).__str__ is not object.__str__ or type(value).__repr__ is not object.__repr__


def _valid_key(key: Any) -> str | None:
    if not key:
        return None
    if isinstance(key, str):
        return key
    return str(key) if _prints(key) else None


def valid(value: Any) -> Any:
    """``value`` as an attribute may be: a copy of what can be changed; text, or None, for what has no form.

    Raises:
        Exception: whatever the value's own methods raise, or it contains itself.
    """
    return _valid(value, None)


def _valid(value: Any, max_length: int | None) -> Any:
    if isinstance(value, str):
        return value if max_length is None or len(value) <= max_length else value[:max_length]
    if value is None or isinstance(value, (bool, int, float, bytes)):
        return value
    if isinstance(value, Sequence):
        return [_valid(item, max_length) for item in value]
    if isinstance(value, Mapping):
        valid: dict[str, Any] = {}
        for key, item in value.items():
            name = _valid_key(key)
            if name is not None:
                valid[name] = _valid(item, max_length)
        return valid
    return str(value) if _prints(value) else None


# -- as the official encoder writes them -------------------------------------------------------------------------


def _short_text(key: str, value: str) -> bytes:
    """As :func:`field` of :func:`_key_value`, without the tag: most of what is in no cache is an id."""
    name, text = str.encode(key), str.encode(value)
    length = _VARINTS[len(text)]
    content = 1 + len(length) + len(text)
    named = b"\x0a" + _VARINTS[len(name)] + name + b"\x12" + _VARINTS[content]
    return _VARINTS[len(named) + content] + named + b"\x0a" + length + text


def _key_value(key: str, value: Any, room: int) -> bytes:
    return field(b"\x0a", str.encode(key)) + field(b"\x12", _any_value(value, room))


def any_value(value: Any) -> bytes:
    """The ``AnyValue`` message of a valid value that is no attribute's.

    Raises:
        Exception: whatever keeps the value from being encoded.
    """
    return _any_value(value, _ROOM)


def _any_value(value: Any, room: int) -> bytes:
    """The ``AnyValue`` message. The order of the tests counts: a bool is an int, and a string a sequence.

    Raises:
        Exception: whatever keeps the value from being encoded.
    """
    if isinstance(value, str):
        return field(b"\x0a", str.encode(value))
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise OverflowError(value)
        return b"\x18" + varint(value & 0xFFFF_FFFF_FFFF_FFFF)  # a negative one takes ten bytes
    if isinstance(value, float):
        return b"\x21" + _double(value)
    if isinstance(value, bytes):
        return field(b"\x3a", value)
    if isinstance(value, Sequence):
        if room < 2:
            raise ValueError("nested too deeply")
        return field(b"\x2a", b"".join([field(b"\x0a", _any_value(item, room - 2)) for item in value]))
    if isinstance(value, Mapping):
        if room < 3:
            raise ValueError("nested too deeply")
        return field(
            b"\x32",
            b"".join([field(b"\x0a", _key_value(str(key), item, room - 3)) for key, item in value.items()]),
        )
    raise TypeError(type(value))
