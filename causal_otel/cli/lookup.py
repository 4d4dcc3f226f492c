"""The trace that a command is given the id of, and what it says of a search."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from causal_otel.cli.stored import CommandError, UsageError

if TYPE_CHECKING:
    from causal_otel.cli.source import Source
    from causal_otel.collector.analysis import TraceView

__all__ = ["beside", "by_id", "missing", "parse_trace_id", "tell_incomplete"]

_ID = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")


def parse_trace_id(written: str) -> bytes:
    """A trace's id from its 32 hexadecimal digits, or 16 of a 64-bit id.

    Raises:
        UsageError: It is none.
    """
    text = written.strip().lower()
    if not _ID.fullmatch(text):
        raise UsageError(f"{written[:80]!r} is no trace id, which has 32 hexadecimal digits")
    return bytes.fromhex(text.rjust(32, "0"))


def tell_incomplete() -> None:
    """Say that a search had no time to see all."""
    print("The search ended before all was seen: a shorter --last, or --service, narrows it.", file=sys.stderr)


def missing(trace_id: bytes) -> CommandError:
    """The complaint that there is no such trace."""
    return CommandError(f"there is no trace {trace_id.hex()}: it was not received (yet), or is no longer kept")


def by_id(source: Source, trace_id: bytes) -> TraceView:
    """The trace with an id.

    Raises:
        CommandError: There is none.
    """
    from causal_otel.collector.analysis import build

    found = source.trace(trace_id)
    if found is None:
        raise missing(trace_id)
    return build(found)


def beside(source: Source, view: TraceView) -> list[TraceView]:
    """Traces of the same time that help to explain one; none if they cannot be asked for, which is said."""
    from causal_otel.collector.analysis.neighbours import traces_beside

    try:
        return traces_beside(source, view)
    except CommandError as error:  # the trace itself is there
        print(f"Other traces of that time could not be asked for: {error}", file=sys.stderr)
        return []
