"""``logs="export"``: records arrive by OTLP as the official exporter would send them, and nothing waits for that."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.grpc_collector import GrpcCollector
from tests.faults.programs import run
from tests.logs.receiving import Receiver, records_of


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


@pytest.fixture
def refusing() -> Iterator[str]:
    """A URL at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


_PROGRAM = """
    import logging, causal_otel, json, os
    installed = causal_otel.install(patches=[], service_name="shop", logs="export")
    logging.basicConfig(level=logging.DEBUG, format="%(trace_id)s %(message)s")  # which does what it always does
    logger = logging.getLogger("shop.cart")
    with causal_otel.span("outer"):
        logger.info("inside, with password=hunter22", extra={"order": 7})
    logger.error("outside")
    logger.debug("too low")
    assert installed.flush(30)
    status = causal_otel.status()
    print(json.dumps({"exported": status.logs.exported, "lost": status.logs.lost, "faults": dict(status.faults)}))
    assert "log records: 2 exported" in str(status), status
    installed.uninstall()
    assert logging.Logger.callHandlers.__module__ == "logging"
    assert not hasattr(logging.Logger.callHandlers, "__wrapped__")
"""


def _check(records: list[Any], spans: dict[str, Any]) -> None:
    (inside, scope, resource), (outside, *_) = records
    assert (scope, resource["service.name"]) == ("shop.cart", "shop")
    assert inside.body.string_value == "inside, with password=[redacted:pair]"
    assert (inside.severity_number, inside.severity_text) == (9, "INFO")
    assert {it.key: it.value.int_value for it in inside.attributes}["order"] == 7
    span = spans["outer"]
    assert (inside.trace_id, inside.span_id, inside.flags & 1) == (span.trace_id, span.span_id, 1)
    assert span.start_time_unix_nano <= inside.time_unix_nano <= span.end_time_unix_nano + 1_000_000
    assert (outside.trace_id, outside.severity_number) == (b"", 17)


def test_over_http(receiver: Receiver) -> None:
    """Records arrive beside the spans, in the context of theirs, and nothing of the export's own libraries."""
    done = run(_PROGRAM, OTLP_ENDPOINT=receiver.url, TRACING_LOGS_LEVEL="info")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"exported": 2, "lost": 0, "faults": {}}
    assert "too low" in done.stderr
    _check(receiver.logs(), receiver.spans())


def test_over_grpc(receiver: Receiver) -> None:
    """The same over gRPC, at the service for logs."""
    collector = GrpcCollector(service="logs.v1.LogsService")
    try:
        # Spans go elsewhere, by HTTP; records are sent to the gRPC service alone.
        program = _PROGRAM.replace("assert installed.flush(30)", "installed.pipeline._logs.flush(30)")
        done = run(program, OTLP_ENDPOINT=collector.url, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", TRACING_EXIT_TIMEOUT="1")
        assert done.returncode == 0, done.stderr
        records = records_of(body for body, _ in collector.requests)
        assert [record.body.string_value for record, *_ in records] == [
            "inside, with password=[redacted:pair]",
            "outside",
        ]
        assert len(records[0][0].trace_id) == 16
    finally:
        collector.server.stop(0)


def test_debug_logs_of_the_export_itself_are_not_exported(receiver: Receiver) -> None:
    """With everything logged, what urllib3 says of each export is not exported: that would never end."""
    done = run(
        """
        import logging, causal_otel
        installed = causal_otel.install(patches=[], logs="export", logs_level="debug")
        logging.basicConfig(level=logging.DEBUG)
        for number in range(3):
            logging.info("%d", number)
            assert installed.flush(30)
        """,
        OTLP_ENDPOINT=receiver.url,
    )
    assert done.returncode == 0, done.stderr
    assert "urllib3" in done.stderr  # it does say something
    assert [record.body.string_value for record, *_ in receiver.logs()] == ["0", "1", "2"]


def test_a_back_end_that_is_away_costs_neither_time_nor_memory(refusing: str) -> None:
    """With nobody at the other end, logging goes on; what does not fit is dropped oldest first and counted exactly."""
    done = run(
        """
        import logging, causal_otel, json
        installed = causal_otel.install(patches=[], logs="export", max_queue_size=100, exit_timeout=1)
        logger = logging.getLogger("x")
        logger.setLevel(logging.INFO)
        logger.addHandler(logging.NullHandler())
        for number in range(5000):
            logger.info("%d", number)
        installed.uninstall()
        status = installed.pipeline.logs()
        print(json.dumps([status.lost, status.exported, status.queued]))
        """,
        OTLP_ENDPOINT=refusing,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [5000, 0, 0]
    assert "log records could not be delivered" in done.stderr


def test_what_cannot_be_delivered_waits_in_the_spool(receiver: Receiver, refusing: str, tmp_path: Path) -> None:
    """Records wait on disk, beside the spans, and a later process sends them."""
    program = """
        import logging, causal_otel, sys
        installed = causal_otel.install(patches=[], logs="export", exit_timeout=20, schedule_delay=0.1)
        if sys.argv[1:] == []:
            logging.warning("kept")
        else:
            logging.warning("never")
        """
    done = run(program, OTLP_ENDPOINT=refusing, TRACING_SPOOL_DIRECTORY=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "logs").iterdir())
    done = run(
        """
        import causal_otel, time
        installed = causal_otel.install(patches=[], logs="export")
        deadline = time.monotonic() + 60
        while not causal_otel.status().logs.recovered and time.monotonic() < deadline:
            time.sleep(0.02)
        """,
        OTLP_ENDPOINT=receiver.url,
        TRACING_SPOOL_DIRECTORY=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert [record.body.string_value for record, *_ in receiver.logs()] == ["kept"]


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://localhost:4318/v1/logs"),
        ({"endpoint": "http://c:1/base/"}, "http://c:1/base/v1/logs"),
        ({"traces_endpoint": "http://c:1/own"}, "http://c:1/v1/logs"),
        ({"logs_endpoint": "http://c:1/own"}, "http://c:1/own"),
        ({"jaeger_host": "j"}, "http://j:4318/v1/logs"),
        ({"protocol": "grpc", "endpoint": "http://c:4317"}, "http://c:4317"),
    ],
)
def test_where_records_go(settings: Any, url: str) -> None:
    """Beside the spans, unless a URL of their own is given."""
    from causal_otel.destination import destination, logs_destination
    from causal_otel.load_settings import load_settings

    loaded = load_settings({}, **settings)
    assert logs_destination(loaded, *destination(loaded)) == url


def test_without_an_exporter_a_warning_says_so() -> None:
    """With a provider of the user's, or with nothing exported, records are not exported, which is told."""
    done = run(
        """
        import causal_otel
        from causal_otel.engine.provider import TracerProvider
        print(causal_otel.install(patches=[], logs="export", exporter="none").status().warnings)
        causal_otel.uninstall()
        print(causal_otel.install(patches=[], logs="export", tracer_provider=TracerProvider()).status().warnings)
        """
    )
    assert done.returncode == 0, done.stderr
    assert "because the exporter is none" in done.stdout
    assert "because your provider exports" in done.stdout


def test_a_handler_that_logs_does_not_wait_for_the_export(receiver: Receiver) -> None:
    """A handler may log while it holds its lock, although the export's own warnings go through it meanwhile."""
    done = run(
        """
        import logging, threading, causal_otel
        from causal_otel.export import sender
        from causal_otel.transports.transport import Outcome, Verdict

        inside, both = threading.Event(), threading.Event()

        class Slow(logging.Handler):
            def emit(self, record):
                if record.name == "app":
                    inside.set()
                    both.wait(20)  # until the sending thread is about to warn
                    other.warning("from inside")  # its queue is full: it needs the ledger
                    fine.set()

        fine, other = threading.Event(), logging.getLogger("other")
        other.propagate = False
        other.addHandler(logging.NullHandler())
        installed = causal_otel.install(patches=[], logs="export", max_queue_size=1)

        def refuse(*arguments):
            inside.wait(20)
            return Outcome(Verdict.REFUSED, "400", "no")

        sender.Attempts.send = refuse
        logging.getLogger("causal_otel").addFilter(lambda record: both.set() or True)

        logging.getLogger().addHandler(Slow())
        other.warning("the first, which is sent")
        thread = threading.Thread(target=logging.getLogger("app").warning, args=("x",), daemon=True)
        thread.start()
        assert fine.wait(30), "they wait for each other"
        """,
        OTLP_ENDPOINT=receiver.url,
    )
    assert done.returncode == 0, done.stderr
