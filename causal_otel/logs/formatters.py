"""Log lines that show the trace: one format for people, one for programs."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from causal_otel.logs.fields import NOTHING, Fields

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["JSONFormatter", "TextFormatter"]

_FORMAT = "%(asctime)s %(levelname)-8s %(name)s: %(message)s"
_NOT_EXTRA = {
    *logging.LogRecord("", 0, "", 0, "", None, None).__dict__,
    *("message", "asctime", "taskName"),  # what formatters add; the last since Python 3.12
    *Fields._fields,
}


class TextFormatter(logging.Formatter):
    """Lines for people: time, level, logger and message, and after them the ids, if there is a trace.

    Takes what :class:`logging.Formatter` takes. A format of your own may name the fields, as in ``%(trace_id)s``. They
    are empty on a record that has none: outside a span, and where tracing is switched off.
    """

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        validate: bool = True,
        *,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self._appends = fmt is None
        super().__init__(
            *(_FORMAT if fmt is None else fmt, datefmt, "%" if fmt is None else style, validate),
            defaults={**NOTHING._asdict(), **(defaults or {})},
        )

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without exception and stack, which follow it."""
        line = super().formatMessage(record)
        if self._appends and (trace_id := getattr(record, "trace_id", "")):
            line += f" [trace_id={trace_id} span_id={getattr(record, 'span_id', '')}]"
        return line


class JSONFormatter(logging.Formatter):
    """Lines for programs: a JSON object each.

    It has ``timestamp`` (ISO 8601, UTC, microseconds), ``level``, ``logger``, ``message`` and ``service``; inside a
    span ``trace_id``, ``span_id`` and ``trace_sampled``; what ``extra`` has given; and, if there are any,
    ``exception`` and ``stack`` as text. What JSON has no form for is written as ``str()`` has it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The object, on one line."""
        values = record.__dict__
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if values.get("service"):
            line["service"] = values["service"]
        if values.get("trace_id"):
            line.update((name, values.get(name)) for name in ("trace_id", "span_id", "trace_sampled"))
        line.update((name, value) for name, value in values.items() if name not in _NOT_EXTRA)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:  # of a record that came through a queue
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        try:
            return _dumps(line)
        except Exception:  # one of the values has no form in JSON, and no text
            return _dumps({name: _plain(value) for name, value in line.items()})


def _dumps(value: object) -> str:
    import json  # here, since every program imports this file, and not every one writes JSON

    return json.dumps(value, default=str, allow_nan=False)


def _plain(value: object) -> object:
    """``value``, or some text for it. A line must not be lost for what ``extra`` holds."""
    try:
        _dumps(value)
        return value
    except Exception:
        try:
            return str(value)
        except Exception:
            return f"<{type(value).__name__}>"
