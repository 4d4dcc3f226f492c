"""structlog and Loguru tell the trace as well."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import loguru
import pytest
import structlog
from opentelemetry.sdk.resources import Resource

import causal_otel
from causal_otel.engine.provider import TracerProvider
from causal_otel.logs import loguru_patcher, structlog_processor
from tests.logs.listening import alone, listening


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    causal_otel.install(patches=[], tracer_provider=TracerProvider(resource=Resource({"service.name": "shop"})))
    yield
    causal_otel.uninstall()


def _ids() -> dict[str, Any]:
    """The current trace, as a program reads it."""
    return {"trace_id": causal_otel.current_trace_id(), "trace_sampled": True, "service": "shop"}


class TestStructlog:
    def test_events_tell_their_trace(self) -> None:
        """Inside a span an event has the ids, outside the service alone; what the event has stays."""
        events: list[Any] = []

        def keep(_logger: Any, _name: str, event: Any) -> str:
            events.append(event)
            return "written"

        logger = structlog.wrap_logger(
            structlog.PrintLogger(sys.stderr),
            processors=[structlog_processor, keep],
        )
        with causal_otel.span("outer") as span:
            logger.info("one", order=7)
            logger.info("two", service="billing")
            wanted = {**_ids(), "span_id": f"{span.get_span_context().span_id:016x}"}
        logger.info("three")
        assert events == [
            {"event": "one", "order": 7, **wanted},
            {"event": "two", **wanted, "service": "billing"},
            {"event": "three", "service": "shop"},
        ]

    def test_rendered_by_the_standard_library(self) -> None:
        """Through ProcessorFormatter, structlog's events and others' records tell the trace that each was made in."""
        shared = [structlog.stdlib.add_log_level, structlog_processor]
        formatter = structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
        logger, lines = listening()
        ours = structlog.wrap_logger(
            logger, processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter]
        )
        with causal_otel.span("outer"):
            ours.info("one")
            logger.info("two")
            wanted = _ids()
        with causal_otel.span("another"):  # in which they are written
            found = [json.loads(formatter.format(record)) for record in lines.records]
        assert [event["event"] for event in found] == ["one", "two"]
        assert [{name: event[name] for name in wanted} for event in found] == [wanted, wanted]

    def test_without_install(self) -> None:
        """The processor works before ``install()`` and after ``uninstall()``: there is nothing to tell then."""
        causal_otel.uninstall()
        record = alone().makeRecord("x", 20, "f", 1, "one", (), None)
        assert structlog_processor(None, "info", {"event": "one"}) == {"event": "one", "service": ""}
        event = structlog_processor(None, "info", {"event": "one", "_record": record})
        assert event == {"event": "one", "_record": record, "service": ""}


class TestLoguru:
    @pytest.fixture
    def lines(self) -> Iterator[list[str]]:
        """What Loguru writes in a format of its own."""
        found: list[str] = []
        loguru.logger.remove()
        loguru.logger.configure(patcher=loguru_patcher)
        loguru.logger.add(
            lambda message: found.append(message.rstrip("\n")),
            format="{message}|{extra[trace_id]}|{extra[trace_sampled]}|{extra[service]}",
            enqueue=True,  # formatted in another thread
        )
        yield found
        loguru.logger.remove()
        loguru.logger.configure(patcher=lambda _: None)

    def test_messages_tell_their_trace(self, lines: list[str]) -> None:
        """Inside a span a message has the ids, outside they are empty; what ``bind`` has set stays."""
        with causal_otel.span("outer"):
            loguru.logger.info("one")
            loguru.logger.bind(service="billing").info("two")
            trace_id = causal_otel.current_trace_id()
        loguru.logger.info("three")
        loguru.logger.complete()
        assert lines == [f"one|{trace_id}|True|shop", f"two|{trace_id}|True|billing", "three||False|shop"]

    def test_handed_to_the_standard_library(self) -> None:
        """A sink that hands messages to ``logging`` gets records of the same trace."""
        logger, lines = listening()
        loguru.logger.remove()
        number = loguru.logger.add(lambda message: logger.info(message.record["message"]), format="{message}")
        try:
            with causal_otel.span("outer"):
                loguru.logger.info("one")
                trace_id = causal_otel.current_trace_id()
        finally:
            loguru.logger.remove(number)
        assert [vars(record)["trace_id"] for record in lines.records] == [trace_id]
        assert lines.records[0].levelno == logging.INFO
