"""The same fields for structlog and for Loguru, neither of which is imported here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from causal_otel.logs.fields import NOTHING, fields

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    _Event = MutableMapping[str, Any]

__all__ = ["loguru_patcher", "structlog_processor"]


def structlog_processor(
    logger: Any, method_name: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor of structlog: ``structlog.configure(processors=[..., structlog_processor, JSONRenderer()])``.

    Inside a span the event gets ``trace_id``, ``span_id`` and ``trace_sampled``, and always ``service``, unless it has
    them. In ``ProcessorFormatter(foreign_pre_chain=[structlog_processor])`` they are those of the record, which may
    have been made in another thread.

    Args:
        logger: unused.
        method_name: unused.
        event_dict: the event, which is changed.
    """
    record = event_dict.get("_record")
    told = fields()._asdict()
    if isinstance(record, logging.LogRecord):
        told = {name: getattr(record, name, value) for name, value in NOTHING._asdict().items()}
    for name, value in told.items():
        if name == "service" or told["trace_id"]:
            event_dict.setdefault(name, value)
    return event_dict


def loguru_patcher(record: Any) -> None:
    """A patcher of Loguru: ``logger.configure(patcher=loguru_patcher)``.

    ``{extra[trace_id]}``, ``{extra[span_id]}``, ``{extra[trace_sampled]}`` and ``{extra[service]}`` can be used in
    formats; outside a span the ids are empty. What ``logger.bind()`` or ``contextualize()`` has set stays.

    Args:
        record: the message's record, which is changed.
    """
    extra = record["extra"]
    for name, value in fields()._asdict().items():
        extra.setdefault(name, value)
