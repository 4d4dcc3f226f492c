"""The arguments of tools: their types, which clients are told, and how they are read."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from causal_otel.collector.mcp.answers import Refused
from causal_otel.collector.mcp.paging import Page, call_of, read_cursor
from causal_otel.collector.query_line import operation as read_operation
from causal_otel.collector.units import moment, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Arguments", "OfOperation", "OfTime", "Paged", "duration", "read", "read_arguments", "schema_of", "trace_id"]

_Value = TypeVar("_Value")
_Read = TypeVar("_Read", bound="Arguments")

_TRACE_ID = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
_LONGEST_SHOWN = 80

DURATIONS = "such as 500us, 100ms or 1.5s"


class Arguments(BaseModel):
    """What a tool is given. What is left out, null or empty is not asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _given(cls, values: Any) -> Any:
        """Models write null for what they leave out."""
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None}


class Paged(Arguments):
    """Arguments of a tool that gives a list, page by page."""

    cursor: str = Field("", description="next_cursor of an answer, for the page that follows it")

    def page(self, tool: str, limit: int, start: int = 0, end: int = 0) -> Page:
        """The page that is asked for, of a list about a time or none.

        Raises:
            Refused: The cursor is none, or of another call.
        """
        call = call_of(tool, self.model_dump())
        cursor = read_cursor(self.cursor, call)
        if cursor is not None:
            start, end = cursor.start, cursor.end
        return Page(limit, cursor, call, start, end)


class OfTime(Arguments):
    """Arguments of a tool that looks at what happened in a time."""

    last: str = Field("", description="how far back from now, such as 15m, 6h or 7d; default 1h")
    start: str = Field("", description="instead of last: from when, as in 2026-11-22T14:30 (UTC)")
    end: str = Field("", description="until when; default now")

    def time(self) -> tuple[int, int]:
        """From when to when, as Unix times in nanoseconds.

        Raises:
            Refused: It cannot be understood.
        """
        if self.last and self.start:
            raise Refused("give either last or start, not both")
        end = read("end", moment, self.end)
        start = read("start", moment, self.start)
        until = time.time_ns() if end is None else end
        if start is None:
            start = max(0, until - (duration("last", self.last) or parse_duration("1h")))
        if until < start:
            raise Refused(f"end is before start: the time is from {self.start or self.last} to {self.end or 'now'}")
        return start, until

    @property
    def when(self) -> str:
        """The time in words, for a sentence."""
        if self.start or self.end:
            return "in that time"
        return f"in the last {self.last or '1h'}"


class OfOperation(OfTime):
    """Arguments of a tool that may be asked about some operations only."""

    service: str = Field("", description="only of this service")
    operation: str = Field(
        "", description='only of spans whose name has this in it; * is any text, "NAME" in double quotes exactly NAME'
    )

    def names(self) -> tuple[str | None, str | None]:
        """What names the operation asked for has: exactly one, or one like it, as ``Query`` has them.

        Raises:
            Refused: It cannot be understood.
        """
        return read("operation", read_operation, self.operation) or (None, None)


def read(parameter: str, reader: Callable[[str], _Value], text: str) -> _Value | None:
    """What ``reader`` makes of a text; None: it is empty.

    Raises:
        Refused: The reader raised ValueError.
    """
    try:
        return reader(text) if text.strip() else None
    except ValueError as error:
        raise Refused(f"{parameter}: {error}") from None


def duration(parameter: str, text: str) -> int | None:
    """The nanoseconds of a duration; None: the text is empty.

    Raises:
        Refused: It is none.
    """
    return read(parameter, parse_duration, text)


def trace_id(parameter: str, text: str) -> bytes:
    """A trace's id.

    Raises:
        Refused: It is none.
    """
    found = text.strip().lower()
    if not _TRACE_ID.fullmatch(found):
        raise Refused(
            f"{parameter}: {text[:_LONGEST_SHOWN]!r} is no trace id, which has 32 hexadecimal digits: search_traces, "
            "errors and why give ids"
        )
    return bytes.fromhex(found.rjust(32, "0"))


def read_arguments(kind: type[_Read], given: Mapping[str, Any]) -> _Read:
    """The arguments that a tool was given.

    Raises:
        Refused: They are not what it takes; the message has a sentence for each.
    """
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        raise Refused("; ".join(_mistake(kind, each) for each in error.errors(include_url=False))) from None


def schema_of(kind: type[Arguments]) -> dict[str, Any]:
    """The JSON Schema of a tool's arguments, as short as it can be: each model that is connected reads all of them."""
    schema = kind.model_json_schema()
    for each in schema["properties"].values():
        each.pop("title", None)
        if each.get("default") in ("", False):
            del each["default"]
    return {
        "type": "object",
        "properties": schema["properties"],
        "required": schema.get("required", []),
        "additionalProperties": False,
    }


def _mistake(kind: type[Arguments], error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"there is no parameter {where[:_LONGEST_SHOWN]!r}: there are {', '.join(kind.model_fields)}"
    if error["type"] == "missing":
        return f"{where} is needed: {kind.model_fields[where].description}"
    return f"{where}: {error['msg'][:1].lower()}{error['msg'][1:]}, not {_shown(error['input'])}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
