"""``causal-otel why`` and its neighbours on the query API of a true Jaeger: they say what they say of our own files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from causal_otel.cli import main
from causal_otel.testing.process import LOOPBACK
from tests.cli.storing import keep
from tests.collector.running import OTLP_HEADERS, now
from tests.collector.spans import MILLISECOND, request, span, trace_id, traces
from tests.interop.running import Jaeger, jaeger
from tests.waiting import wait_until

pytestmark = pytest.mark.needs("jaeger")

_SLOW, _QUICK = 0xA1, 0xA2


class _Kept(NamedTuple):
    directory: Path
    jaeger: Jaeger


def _made(number: int, start: int, wait: float, *, error: bool = False) -> TracesData:
    """A request that waited for a connection, and had the same query again and again."""
    query = {"db.system.name": "postgresql", "db.query.text": "SELECT * FROM items WHERE id = $1"}
    begun = start + round(wait * 1e9) + 20 * MILLISECOND
    return traces(
        span("GET /orders", trace=number, id=1, start=start, duration=400 * MILLISECOND, kind=Span.SPAN_KIND_SERVER),
        span(
            "SELECT orders",
            trace=number,
            id=2,
            parent=1,
            start=start,
            duration=round(wait * 1e9) + 20 * MILLISECOND,
            kind=Span.SPAN_KIND_CLIENT,
            error=error,
            tags={**query, "causal.pool.wait": wait, "causal.pool.size": 1, "causal.pool.waiting": 2},
        ),
        *(
            span(
                "SELECT items",
                trace=number,
                id=3 + place,
                parent=1,
                start=begun + place * 5 * MILLISECOND,
                duration=5 * MILLISECOND,
                kind=Span.SPAN_KIND_CLIENT,
                tags=query,
            )
            for place in range(10)
        ),
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Kept]:
    """Two traces, in a Jaeger and in a directory of ours."""
    # To the microsecond, as Jaeger's own form has times.
    start = now() // MILLISECOND * MILLISECOND - 60_000 * MILLISECOND
    quick, slow = _made(_QUICK, start, 0.05, error=True), _made(_SLOW, start + 5_000 * MILLISECOND, 0.25)
    directory = keep(tmp_path_factory.mktemp("kept") / "traces", quick, slow)
    with jaeger(tmp_path_factory.mktemp("badger")) as found:
        url = f"http://{LOOPBACK}:{found.http_port}/v1/traces"
        sent = httpx.post(url, content=request(quick, slow), headers=OTLP_HEADERS, trust_env=False, timeout=60)
        assert sent.status_code == 200, sent.text

        def arrived() -> bool:
            shown = [found.trace(trace_id(number).hex()) for number in (_QUICK, _SLOW)]
            return all(each is not None and len(each["spans"]) == 12 for each in shown)

        wait_until(arrived)
        yield _Kept(directory, found)


@pytest.mark.parametrize(
    "arguments",
    [
        ("why", trace_id(_SLOW).hex()),
        ("why", trace_id(_SLOW).hex(), "--json"),
        ("why", "--slowest", "GET /orders"),
        ("why", "--slowest", "select*", "--service", "shop"),
        ("why", "--error"),
        ("traces",),
        ("traces", "--operation", "orders", "--sort", "longest"),
        ("traces", "causal.pool.wait>100ms"),
        ("traces", "--errors"),
    ],
)
def test_jaeger_tells_what_our_files_tell(
    kept: _Kept, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    """By its search and by its two forms of a trace."""
    printed = []
    for where in (("--data-dir", str(kept.directory)), ("--url", kept.jaeger.query)):
        command, *others = arguments
        assert main([command, *where, *others]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[1] == printed[0]
    assert printed[0]


def test_what_jaeger_has_not_is_said(kept: _Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown trace, and log records."""
    assert main(["why", "--url", kept.jaeger.query, "c" * 32]) == 1
    assert f"there is no trace {'c' * 32}" in capsys.readouterr().err
    assert main(["trace", "--url", kept.jaeger.query, trace_id(_SLOW).hex(), "--logs"]) == 1
    assert "Jaeger has no log records: leave --logs out" in capsys.readouterr().err
