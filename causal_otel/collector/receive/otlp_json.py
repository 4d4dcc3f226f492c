"""Traces and log records as OTLP JSON, which is protobuf's JSON except that ids are hexadecimal and enums are numbers.

See "JSON Protobuf Encoding" in the OTLP specification. ``ExportTraceServiceRequest`` and ``TracesData`` look the same.

The reader is our own, because input is not trusted: protobuf's accepts strings in place of messages, and its errors
copy the document once for every level of nesting. The writer is our own, because protobuf's takes twice as long.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.collector.attributes import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message  # type: ignore[import-untyped]

__all__ = ["dumps", "loads", "read", "to_dict"]

_Message = TypeVar("_Message", bound="Message")

_DEPTH = 100  # messages within messages; protobuf reads no more from its binary form
_PARENT = "parent_span_id"
_HEXADECIMAL = ("trace_id", "span_id", _PARENT)
_LONG = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)


def to_dict(message: Message) -> dict[str, Any]:
    """``message`` as what :func:`json.dumps` makes OTLP JSON of: 64-bit integers are strings, bytes are Base64."""
    return _written(message)


def dumps(message: Message) -> bytes:
    """``message`` as one line of OTLP JSON in UTF-8, without a line end."""
    return json.dumps(to_dict(message), ensure_ascii=False, separators=(",", ":")).encode()


def loads(data: bytes) -> TracesData:
    """Read OTLP JSON.

    As OTLP demands of receivers, unknown fields are ignored, 64-bit integers may be numbers or strings. A parent's id
    that is all zero is none. The names of enums and fields in the protocol files are accepted as well. The lengths of
    ids are not checked.

    Args:
        data: a JSON object, in UTF-8.

    Raises:
        ValueError: It is not that. The message says what is wrong and where. It is also raised for nesting deeper than
            protobuf's limit, 100 messages.
    """
    return read(data, TracesData())


def read(data: bytes, message: _Message) -> _Message:
    """Read OTLP JSON into ``message``, an empty one; see :func:`loads`."""
    try:
        _read(message, json.loads(data), 0)
    except _Wrong as wrong:
        raise ValueError(f"not OTLP JSON: {wrong.where()}{wrong}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not JSON: not in UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    except RecursionError:
        raise ValueError("not OTLP JSON: it is nested too deeply") from None
    return message


# -- writing ------------------------------------------------------------------------------------------------------


def _written(message: Message) -> dict[str, Any]:
    writers = _writers(message.DESCRIPTOR)
    document = {}
    for field, value in message.ListFields():
        name, write = writers[field.number]
        document[name] = value if write is None else write(value)
    return document


@cache
def _writers(descriptor: Descriptor) -> dict[int, tuple[str, Callable[[Any], Any] | None]]:
    """Of a message's fields by number: the name in JSON, and what writes a value, None if it stays as it is."""
    writers = {}
    for field in descriptor.fields:
        write = _writer(field)
        writers[field.number] = field.json_name, _of_each(write) if field.is_repeated else write
    return writers


def _of_each(write: Callable[[Any], Any] | None) -> Callable[[Iterable[Any]], list[Any]]:
    return list if write is None else lambda values: [write(value) for value in values]


def _writer(field: FieldDescriptor) -> Callable[[Any], Any] | None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return _written
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes.hex if field.name in _HEXADECIMAL else lambda value: base64.b64encode(value).decode()
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return lambda value: value if math.isfinite(value) else text(value)
    return str if field.cpp_type in _LONG else None


# -- reading ------------------------------------------------------------------------------------------------------


class _Wrong(Exception):
    """What is wrong; ``path`` grows from the innermost field outwards."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.path: list[str] = []

    def where(self) -> str:
        return "".join(reversed(self.path)).removeprefix(".") + ": " if self.path else ""


@dataclass(frozen=True, slots=True)
class _Field:
    """How a field is read. ``scalar`` is None if it holds messages."""

    name: str
    repeated: bool
    scalar: Callable[[Any], Any] | None


@cache
def _fields(descriptor: Descriptor) -> dict[str, _Field]:
    """The fields of a message by both names that JSON may call them."""
    fields = {}
    for field in descriptor.fields:
        fields[field.name] = fields[field.json_name] = _Field(field.name, field.is_repeated, _reader(field))
    return fields


def _reader(field: FieldDescriptor) -> Callable[[Any], Any] | None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return None
    if field.type == FieldDescriptor.TYPE_BYTES:
        if field.name == _PARENT:
            return _parent
        return _hexadecimal if field.name in _HEXADECIMAL else _base64
    if field.type == FieldDescriptor.TYPE_ENUM:
        numbers = {name: value.number for name, value in field.enum_type.values_by_name.items()}
        return lambda value: numbers[value] if isinstance(value, str) and value in numbers else _integer(value)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _string
    if field.type == FieldDescriptor.TYPE_BOOL:
        return _boolean
    return _double if field.type == FieldDescriptor.TYPE_DOUBLE else _integer


def _read(message: Message, document: Any, depth: int) -> None:
    """Set in ``message`` what ``document`` says."""
    if not isinstance(document, dict):
        raise _Wrong(f"an object is needed, not {_shown(document)}")
    if depth > _DEPTH:
        raise _Wrong("it is nested too deeply")
    fields = _fields(message.DESCRIPTOR)
    for key, value in document.items():
        field = fields.get(key)
        if field is None or value is None:
            continue
        try:
            if field.repeated:
                _read_list(getattr(message, field.name), field, value, depth)
            elif field.scalar is not None:
                setattr(message, field.name, field.scalar(value))
            else:
                inner = getattr(message, field.name)
                inner.SetInParent()
                _read(inner, value, depth + 1)
        except ValueError:  # protobuf's, of a number
            raise _located(_Wrong(f"out of range: {_shown(value)}"), f".{key}") from None
        except _Wrong as wrong:
            raise _located(wrong, f".{key}") from None


def _read_list(items: Any, field: _Field, document: Any, depth: int) -> None:
    if not isinstance(document, list):
        raise _Wrong(f"a list is needed, not {_shown(document)}")
    for index, value in enumerate(document):
        try:
            if field.scalar is not None:
                items.append(field.scalar(value))
            else:
                _read(items.add(), value, depth + 1)
        except _Wrong as wrong:
            raise _located(wrong, f"[{index}]") from None


def _located(wrong: _Wrong, place: str) -> _Wrong:
    wrong.path.append(place)
    return wrong


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"a string is needed, not {_shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Wrong("half of a surrogate pair is no character") from None
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(f"true or false is needed, not {_shown(value)}")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise _Wrong(f"a whole number is needed, not {_shown(value)}")


def _double(value: Any) -> float:
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise _Wrong(f"a number is needed, not {_shown(value)}")


def _hexadecimal(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return binascii.unhexlify(value)
        except ValueError:
            pass
    raise _Wrong(f"hexadecimal digits are needed (OTLP has no Base64 here), not {_shown(value)}")


def _parent(value: Any) -> bytes:
    found = _hexadecimal(value)
    return found if any(found) else b""


def _base64(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            # Both alphabets, with or without padding, as protobuf takes them.
            standard = value.rstrip("=").replace("-", "+").replace("_", "/")
            return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        except ValueError:
            pass
    raise _Wrong(f"Base64 is needed, not {_shown(value)}")


def _shown(value: Any) -> str:
    """``value`` for a message: its kind if it is large or a container."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return repr(value if len(value) <= 64 else value[:64] + "…")
    return json.dumps(value) if not isinstance(value, int) or abs(value) < 1 << 128 else "a number that large"
