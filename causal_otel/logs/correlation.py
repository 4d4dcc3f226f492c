"""``logs="correlate"``: a record knows the context that it was made in, and tells its trace if somebody asks.

Making a record costs one read of a context variable more. The fields are looked up when somebody first reads one of
them, or the record's ``__dict__``, as every format does. Until then the record is of a subclass, made for its class,
that does so; then it is of its own class again, and has four attributes more. So it is copied and pickled as any other
record is, and whoever unpickles it needs nothing of ours.

This is done behind ``Logger.makeRecord`` and not in a record factory: a factory that somebody sets later replaces the
one before it, and what a factory puts on a record makes ``extra={"service": ...}`` a KeyError. Here a field that the
record has already, from ``extra`` or from a factory of the user's, stays as it is.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.engine import context as contexts
from causal_otel.logs import fields
from causal_otel.logs.replacement import Replacement

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Correlation"]

_CONTEXT = "_causal_otel_context"
_DICT: Any = vars(logging.LogRecord)["__dict__"]
"""The descriptor behind ``record.__dict__``, which the subclasses replace."""

_dict_of = _DICT.__get__
_settled: dict[type, type] = {}
"""The classes of records that nobody has read yet, and the classes that they stand for."""


def _settle(record: logging.LogRecord) -> None:
    """Give ``record`` its fields, and its own class."""
    values = _dict_of(record)
    context = values.get(_CONTEXT)
    if context is not None:
        trace_id, span_id, trace_sampled = fields.ids(context)
        values.setdefault("trace_id", trace_id)
        values.setdefault("span_id", span_id)
        values.setdefault("trace_sampled", trace_sampled)
        values.setdefault("service", fields.service)
        values.pop(_CONTEXT, None)  # last: another thread that reads the record meanwhile finds all of them, or this
    kind = type(record)
    record.__class__ = _settled.get(kind, kind)


def _read_dict(record: logging.LogRecord) -> dict[str, Any]:
    _settle(record)
    values: dict[str, Any] = _dict_of(record)
    return values


def _write_dict(record: logging.LogRecord, values: dict[str, Any]) -> None:
    _settle(record)
    record.__dict__ = values


class _Field:
    """A field that the record does not have yet. It has no ``__set__``: what is set on the record hides it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, record: Any, kind: type | None = None) -> Any:
        if record is None:
            raise AttributeError(self._name)
        _settle(record)
        return getattr(record, self._name)


def _reduce(record: logging.LogRecord, protocol: Any) -> Any:
    _settle(record)
    return record.__reduce_ex__(protocol)


def _make_unsettled(kind: type) -> type:
    """The subclass for records of ``kind`` that nobody has read."""
    members = {
        "__slots__": (),  # the layout of `kind`: a class of another layout cannot be taken for it
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
        "__dict__": property(_read_dict, _write_dict),
        "__reduce_ex__": _reduce,
        **{name: _Field(name) for name in fields.Fields._fields},
    }
    found = type(kind.__name__, (kind,), members)
    _settled[found] = kind
    return found


class Correlation:
    """The name of the service in the fields, and what stands behind ``Logger.makeRecord``, until :meth:`undo`.

    Args:
        service: its name.
        records: whether the records of ``logging`` get the fields.
    """

    def __init__(self, service: str, *, records: bool) -> None:
        fields.service = service
        self._unsettled: dict[type, type] = {}
        self._replacement = Replacement("makeRecord", self._make_record) if records else None

    def undo(self) -> None:
        """Leave records as they are from now on."""
        fields.service = ""
        if self._replacement is not None:
            self._replacement.undo()

    def _make_record(self, original: Callable[..., Any], replacement: Replacement) -> Callable[..., Any]:
        current, known, unsettled = contexts.current, self._unsettled.get, self._unsettled_for

        @functools.wraps(original)
        def makeRecord(  # with the arguments that it has: to hand on what comes takes twice as long
            self: logging.Logger,
            name: Any,
            level: Any,
            fn: Any,
            lno: Any,
            msg: Any,
            args: Any,
            exc_info: Any,
            func: Any = None,
            extra: Any = None,
            sinfo: Any = None,
        ) -> Any:
            record = original(self, name, level, fn, lno, msg, args, exc_info, func, extra, sinfo)
            if not replacement.active:
                return record
            try:
                kind = type(record)
                found = known(kind) or unsettled(kind)
                if found is not None:
                    record.__class__ = found
                    record._causal_otel_context = current()
            except Exception:  # of a record that a factory of the user's has made
                faults.report("logs: makeRecord")
            return record

        return makeRecord

    def _unsettled_for(self, kind: type) -> type | None:
        """The class for a record of ``kind``; None: it stays as it is."""
        if not issubclass(kind, logging.LogRecord):
            return None
        return self._unsettled.setdefault(kind, _make_unsettled(kind))
