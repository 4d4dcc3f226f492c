"""What is too large for a back end: halved until it fits, from memory and from the spool."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from causal_otel.export.spool import Spool
from causal_otel.transports.splitting import halves
from tests.export.exporting import exporting
from tests.export.workers import lost
from tests.faults.grpc_collector import grpc_serving
from tests.faults.scripted import Collector, answer, limit, refused_port, scripted

NAMES = [f"span {number:02}" for number in range(40)]


def _flat(payload: bytes) -> list[tuple[str, str, str, str, str]]:
    """Every span with all that it belongs to."""
    return [
        (group.resource.attributes[0].key, group.schema_url, scoped.scope.name, scoped.schema_url, span.name)
        for group in ExportTraceServiceRequest.FromString(payload).resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
    ]


@given(st.lists(st.lists(st.integers(0, 5), max_size=3), max_size=4))
def test_halves(shape: list[list[int]]) -> None:
    """Halves hold the same spans in the same order, each under its own resource and scope; one span is not split."""
    message = ExportTraceServiceRequest()
    for number, scopes in enumerate(shape):
        group = message.resource_spans.add(schema_url=f"schema {number}")
        group.resource.attributes.add(key=f"resource {number}")
        for index, spans in enumerate(scopes):
            scoped = group.scope_spans.add(schema_url=f"schema {number}.{index}")
            scoped.scope.name = f"scope {number}.{index}"
            for span in range(spans):
                scoped.spans.add(name=f"span {number}.{index}.{span}")
    payload = message.SerializeToString()
    whole = _flat(payload)
    found = halves(payload)
    if len(whole) < 2:
        assert found is None
        return
    assert found is not None
    (first, first_spans), (second, second_spans) = found
    assert _flat(first) + _flat(second) == whole
    assert (first_spans, second_spans) == (len(whole) // 2, len(whole) - len(whole) // 2)
    assert (len(_flat(first)), len(_flat(second))) == (first_spans, second_spans)


def test_halves_of_nonsense() -> None:
    """What is no request has no halves."""
    assert halves(b"\xff\xff") is None


def _taken(collector: Collector, most: int) -> list[str]:
    return [name for request in collector.requests if len(request.body) <= most for name in request.names]


def test_413(caplog: pytest.LogCaptureFixture) -> None:
    """A batch that the back end calls too large arrives in parts, in order and once; larger ones are halved unasked."""
    most = 10_000
    with scripted(limit(most)) as collector, exporting(collector.url) as made:
        made.end(*NAMES, size=1000)
        assert made.flush()
        assert _taken(collector, most) == NAMES
        refused = len(collector.requests) - sum(len(request.body) <= most for request in collector.requests)
        assert refused > 0
        assert (made.worker.status().exported, lost(made.worker)) == (len(NAMES), {})
        made.end(*NAMES, size=1000)
        assert made.flush()
        assert _taken(collector, most) == NAMES * 2
        assert sum(len(request.body) > most for request in collector.requests) == refused
    (record,) = caplog.records
    assert record.getMessage().startswith(f"causal_otel: {collector.url} takes no request of ")
    assert (
        "413: too large; raise its limit for a request, or lower OTEL_BSP_MAX_EXPORT_BATCH_SIZE" in record.getMessage()
    )


@pytest.mark.parametrize("position", [0, 20, 39])
def test_span_that_does_not_fit(caplog: pytest.LogCaptureFixture, position: int) -> None:
    """Of a batch with one span that is too large by itself this one is lost, counted and said, and no other."""
    others = NAMES[:position] + NAMES[position + 1 :]
    with scripted(limit(10_000)) as collector, exporting(collector.url) as made:
        made.end(*NAMES[:position])
        made.end(NAMES[position], size=20_000)
        made.end(*NAMES[position + 1 :])
        assert not made.flush()
        assert _taken(collector, 10_000) == others
        assert lost(made.worker) == {"too_large": 1}
        assert made.worker.status().exported == len(others)
    assert sum("1 spans are lost, in a request of 2" in record.getMessage() for record in caplog.records) == 1


def test_grpc() -> None:
    """A message that is larger than a gRPC server takes arrives in parts, in order and once."""
    with grpc_serving(options=[("grpc.max_receive_message_length", 10_000)]) as collector:
        with exporting(collector.url) as made:
            made.end(*NAMES, size=1000)
            assert made.flush()
            assert (made.worker.status().exported, lost(made.worker)) == (len(NAMES), {})
        assert collector.names() == NAMES


def _spooled(directory: Path, count: int) -> None:
    """Put spans into the spool, two batches of them, of which the second waits for flush()."""
    with refused_port() as port:
        url = f"http://127.0.0.1:{port}/v1/traces"
        with exporting(url, spool=Spool(directory, 10_000_000), max_export_batch_size=count // 2 + 1) as made:
            made.end(*NAMES[:count], size=1000)
            assert not made.flush()
            assert made.worker.status().spooled == count


def test_spooled(tmp_path: Path) -> None:
    """A batch from the spool that is too large arrives in parts, in order, before what is new."""
    _spooled(tmp_path, 20)
    with scripted(limit(5_000)) as collector, exporting(collector.url, spool=Spool(tmp_path, 10_000_000)) as made:
        made.end("new")
        assert made.flush()
        assert _taken(collector, 5_000) == [*NAMES[:20], "new"]
        status = made.worker.status()
        assert (status.recovered, status.exported, status.spooled_bytes, lost(made.worker)) == (20, 1, 0, {})


def test_spooled_and_interrupted(tmp_path: Path) -> None:
    """Where only a part of a spooled batch was taken, the rest of it stays in its place, and nothing comes twice."""
    _spooled(tmp_path, 20)
    (before, _) = sorted(tmp_path.glob("*.spans"))
    script = (answer(413), answer(200), answer(503, {"Retry-After": "3600"}))
    with scripted(*script) as collector, exporting(collector.url, spool=Spool(tmp_path, 10_000_000)) as made:
        made.end("new")
        assert not made.flush()
        assert collector.requests[1].names == NAMES[:5]
        assert (made.worker.status().recovered, made.worker.status().spooled) == (5, 1)
    assert before in tmp_path.glob("*.spans")
    with scripted() as collector, exporting(collector.url, spool=Spool(tmp_path, 10_000_000)) as made:
        made.worker.recover()
        collector.wait(3)
        assert made.flush()
        assert collector.names() == [*NAMES[5:20], "new"]


def test_spooled_span_that_does_not_fit(tmp_path: Path) -> None:
    """A span in the spool that is too large by itself is lost, counted, and stands in nobody's way."""
    _spooled(tmp_path, 4)
    with scripted(limit(500)) as collector, exporting(collector.url, spool=Spool(tmp_path, 10_000_000)) as made:
        made.end("new")
        made.flush()
        assert _taken(collector, 500) == ["new"]
        status = made.worker.status()
        assert (status.recovered, status.exported, status.spooled_bytes, lost(made.worker)) == (
            0,
            1,
            0,
            {"too_large": 4},
        )
