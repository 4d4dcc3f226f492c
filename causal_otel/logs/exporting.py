"""``logs="export"``: records go to the back end by OTLP, in the context of the span that was current.

Records are taken where a logger hands them to its handlers, and not by a handler on the root logger: with one there
``logging.basicConfig()`` would do nothing any more, ``dictConfig()`` would take it away, and loggers that do not
propagate would pass it by.

What is taken becomes a :class:`LogItem` at once, on the thread that logs, since arguments and ``extra`` may change
later; that is as much work as a format. The rest is the export worker's: a bounded queue, threads, retries, spool.
"""

from __future__ import annotations

import functools
import logging
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from causal_otel import names
from causal_otel._internal import faults
from causal_otel.engine import context as contexts
from causal_otel.export.attributes import valid
from causal_otel.logs.encoding import LogItem, severity
from causal_otel.logs.fields import Fields
from causal_otel.logs.replacement import Replacement

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.resources import Resource

__all__ = ["LogExport"]

_RESERVED = frozenset(
    {
        *logging.LogRecord("", 0, "", 0, "", None, None).__dict__,
        *("message", "asctime", "taskName"),
        *Fields._fields,  # which the item has in fields of its own
    }
)
_VALUES = (type(None), bool, bytes, int, float, str, Sequence, Mapping)
_TEXTS = {"WARNING": "WARN", "CRITICAL": "FATAL"}
"""Names of levels, where the convention has another."""
_SCOPES = 1000
"""How many loggers' names are remembered."""


class LogExport:
    """Gives records to ``take``, until :meth:`undo`.

    Args:
        take: of the worker.
        resource: what the process is.
        level: the lowest that is taken.
    """

    def __init__(self, take: Callable[[LogItem], None], resource: Resource, level: int) -> None:
        self._take = take
        self._resource = resource
        self._level = level
        self._scopes: dict[str, InstrumentationScope] = {}
        self._replacement = Replacement("callHandlers", self._call_handlers)

    def undo(self) -> None:
        """Take none from now on."""
        self._replacement.undo()

    def _call_handlers(self, original: Callable[..., Any], replacement: Replacement) -> Callable[..., Any]:
        level, export = self._level, self._export

        @functools.wraps(original)
        def callHandlers(self: logging.Logger, record: logging.LogRecord) -> Any:
            if replacement.active:
                try:
                    if record.levelno >= level:
                        export(record)
                except Exception:
                    faults.report("logs: export")
            return original(self, record)

        return callHandlers

    def _export(self, record: logging.LogRecord) -> None:
        # Ours tell of the export itself, and those of its threads come from its libraries: they would never end.
        context = contexts.current()
        if contexts.is_suppressed(context) or record.name.partition(".")[0] == "causal_otel":
            return
        scope = self._scopes.get(record.name)
        if scope is None:
            if len(self._scopes) >= _SCOPES:
                self._scopes.clear()
            scope = self._scopes[record.name] = InstrumentationScope(record.name)
        span = contexts.current_span(context)
        identity = None if span is None else span.get_span_context()
        if identity is not None and identity.is_valid:
            ids = identity.trace_id.to_bytes(16, "big"), identity.span_id.to_bytes(8, "big"), int(identity.trace_flags)
        else:
            ids = b"", b"", 0
        self._take(
            LogItem(
                self._resource,
                scope,
                int(record.created * 1e9),
                time.time_ns(),
                *ids,
                severity(record.levelno),
                _TEXTS.get(record.levelname, record.levelname),
                _body(record),
                _attributes(record),
            )
        )


def _body(record: logging.LogRecord) -> Any:
    message: Any = record.msg
    if record.args or isinstance(message, str):
        return record.getMessage()
    return valid(message) if isinstance(message, _VALUES) else str(message)


def _attributes(record: logging.LogRecord) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for name, value in vars(record).items():
        if name not in _RESERVED:
            try:
                attributes[name] = valid(value)
            except Exception:
                faults.report("logs: extra")
    attributes[names.CODE_FILE_PATH] = record.pathname
    attributes[names.CODE_FUNCTION_NAME] = record.funcName
    attributes[names.CODE_LINE_NUMBER] = record.lineno
    if record.exc_info:
        kind, error, trace = record.exc_info
        if kind is not None:
            attributes[names.EXCEPTION_TYPE] = kind.__name__
        if error is not None and error.args:
            attributes[names.EXCEPTION_MESSAGE] = str(error.args[0])
        if trace is not None:
            attributes[names.EXCEPTION_STACKTRACE] = "".join(traceback.format_exception(*record.exc_info))
    return attributes
