"""What is taken of log records is what the official exporter sends for them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.resources import Resource

import causal_otel
from causal_otel._internal import faults
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.privacy import Policy
from causal_otel.logs.encoding import LogItem, logs_signal
from causal_otel.logs.exporting import LogExport
from causal_otel.logs.fields import Fields
from causal_otel.transports.splitting import halves
from tests.logs.listening import Lines, alone
from tests.logs.receiving import records_of

_RESOURCE = Resource({"service.name": "shop"})
_LOGS = logs_signal()


@pytest.fixture
def taken() -> Iterator[list[LogItem]]:
    """What is taken for export, from INFO on."""
    items: list[LogItem] = []
    before = logging.Logger.callHandlers
    export = LogExport(items.append, _RESOURCE, logging.INFO)
    yield items
    export.undo()
    assert logging.Logger.callHandlers is before


def _encoded(items: list[LogItem], policy: Policy | None = None) -> Any:
    ((body, count),) = _LOGS.make_encoder(policy).encode(items)  # type: ignore[arg-type]
    assert count == len(items)
    return ExportLogsServiceRequest.FromString(body)


def _official(records: list[tuple[logging.LogRecord, Any]]) -> Any:
    """What the official handler, provider and encoder make of records, each in a context."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
        from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
        from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

        provider = LoggerProvider(resource=_RESOURCE)
        exporter: Any = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        handler = LoggingHandler(logger_provider=provider)
        for record, context in records:
            context.run(handler.emit, record)
        message = encode_logs(exporter.get_finished_logs())
        provider.shutdown()
    return message


def _comparable(message: Any) -> list[Any]:
    """Records without when they were observed, and without the fields that we have put on the record itself."""
    found = []
    for group in message.resource_logs:
        for scoped in group.scope_logs:
            for record in scoped.log_records:
                record.observed_time_unix_nano = 0
                kept = [it for it in record.attributes if it.key not in Fields._fields]
                del record.attributes[:]
                record.attributes.extend(kept)
                found.append((str(group.resource), str(scoped.scope), str(record)))
    return found


class TestRecords:
    def test_equal_those_of_the_official_exporter(self, taken: list[LogItem]) -> None:
        """Levels, bodies, extras of every type, exceptions and the span: decoded, both say the same."""
        import contextvars

        causal_otel.install(patches=[], tracer_provider=TracerProvider(), logs="correlate")
        logger, lines = alone(), Lines()
        seen: list[tuple[logging.LogRecord, Any]] = []
        lines.emit = lambda record: seen.append((record, contextvars.copy_context()))  # type: ignore[method-assign]
        logger.addHandler(lines)
        try:
            for level in (20, 21, 25, 30, 40, 50, 60):
                logger.log(level, "at %d, %s", level, "ä")
            with causal_otel.span("outer"):
                extra = {"text": "x", "number": 2**40, "real": 0.5, "no": None, "yes": True, "list": [1, "a", None]}
                logger.info("inside", extra={**extra, "map": {"a": {"b": [1]}}, "object": Path("/x"), "bytes": b"\0"})
                logger.warning({"a": 1})
                logger.warning(["a", 1, None])
                logger.warning(Path("/x"))
                logger.warning(None)
                try:
                    raise ValueError("went wrong", 7)
                except ValueError:
                    logger.exception("failed")
        finally:
            causal_otel.uninstall()
        assert len(taken) == len(seen) == 13
        assert _comparable(_encoded(taken)) == _comparable(_official(seen))

    def test_below_the_level_are_not_taken(self, taken: list[LogItem]) -> None:
        """DEBUG stays here; so do what our own loggers say, and what is said where tracing is suppressed."""
        from causal_otel.engine.context import suppress

        logger = alone()
        logger.debug("no")
        logger.info("yes")
        logging.getLogger("causal_otel").warning("no")
        with suppress():
            logger.warning("no")
        assert [item.body for item in taken] == ["yes"]

    def test_are_copies(self, taken: list[LogItem]) -> None:
        """What changes after the call does not change what is sent."""
        logger, items = alone(), ["a"]
        logger.info("%s", items, extra={"items": items})
        logger.info(items)
        items.append("b")
        assert [item.body for item in taken] == ["['a']", ["a"]]
        assert taken[0].attributes["items"] == ["a"]

    def test_that_cannot_be_read_do_not_break_the_call(self, taken: list[LogItem]) -> None:
        """A value whose ``str()`` raises costs that value; a message that does not fit its arguments, the record."""

        class Bad:
            def __str__(self) -> str:
                raise ValueError("no text")

        logger, lines = alone(), Lines()
        logger.addHandler(lines)
        before = faults.counts()
        logger.info("one", extra={"bad": Bad(), "good": 1})
        logger.info("%d", "two")
        assert len(lines.records) == 2
        assert [(item.body, item.attributes["good"]) for item in taken] == [("one", 1)]
        new = {site: count for site, count in faults.counts().items() if count != before.get(site)}
        assert set(new) == {"logs: extra", "logs: export"}

    def test_secrets_are_taken_out(self, taken: list[LogItem]) -> None:
        """The policy applies to the body, to attributes and to tracebacks."""
        logger = alone()
        try:
            raise ValueError("password=hunter22")
        except ValueError:
            logger.exception("with Bearer abcdefghijklmnop", extra={"api_key": "hunter22", "kept": "plain"})
        logger.info({"password": "hunter22"})
        told = str(_encoded(taken, Policy()))
        assert "hunter22" not in told
        assert "abcdefghijklmnop" not in told
        assert told.count("[redacted:") >= 5
        assert "plain" in told

    def test_too_many_for_one_request_are_halved(self, taken: list[LogItem]) -> None:
        """A request that a back end does not take is two of half the records, in order."""
        logger = alone()
        for number in range(5):
            logger.info("%d", number)
        ((body, _),) = _LOGS.make_encoder(None).encode(taken)  # type: ignore[arg-type]
        parts = halves(body, _LOGS.kind)
        assert parts is not None
        assert [count for _, count in parts] == [2, 3]
        assert [[record.body.string_value for record, *_ in records_of([part])] for part, _ in parts] == [
            ["0", "1"],
            ["2", "3", "4"],
        ]
