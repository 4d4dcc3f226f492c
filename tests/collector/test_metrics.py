"""Metrics: the text that Prometheus reads, and the counts of spans."""

from __future__ import annotations

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from causal_otel.collector.prometheus import Family, render
from causal_otel.collector.span_metrics import BOUNDS, SERIES_LIMIT, SpanMetrics, count_spans
from causal_otel.collector.systems import MOST
from tests.collector.spans import MILLISECOND, SECOND, request, span, traces


def _samples(metrics: SpanMetrics) -> dict[str, float]:
    lines = render(metrics.families()).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def _counted(*requests: bytes) -> dict[str, float]:
    metrics = SpanMetrics()
    for each in requests:
        metrics.add(count_spans(each))
    return _samples(metrics)


def _sum(samples: dict[str, float], prefix: str, *parts: str) -> float:
    return sum(
        value for name, value in samples.items() if name.startswith(prefix) and all(part in name for part in parts)
    )


def test_text_is_escaped() -> None:
    """Quotes, backslashes and line ends in labels and help, and what is no Unicode, leave the format whole."""
    family = Family("a_total", "counter", "One\nline \\ here.")
    family.add(1, {"name": 'say "hi"\\\n\udc80é'})
    assert render([family]).decode() == (
        '# HELP a_total One\\nline \\\\ here.\n# TYPE a_total counter\na_total{name="say \\"hi\\"\\\\\\n?é"} 1\n'
    )


def test_a_name_with_nul_does_not_end_the_page() -> None:
    """NUL, at which Prometheus stops reading, is replaced: one span's name must not cost all metrics."""
    family = Family("a_total", "counter", "Help.")
    family.add(1, {"name": "a\0b"})
    assert render([family]).decode().splitlines()[2:] == ['a_total{name="a\N{REPLACEMENT CHARACTER}b"} 1']


def test_histogram_is_cumulative_and_ends_with_infinity() -> None:
    """A histogram has a bucket for every bound and for infinity, the sum and the count."""
    family = Family("d_seconds", "histogram", "Durations.")
    family.add_histogram((0.5, 1.0), (1, 3, 4), 7.25, {"a": "b"})
    assert str(family).splitlines()[2:] == [
        'd_seconds_bucket{a="b",le="0.5"} 1',
        'd_seconds_bucket{a="b",le="1.0"} 3',
        'd_seconds_bucket{a="b",le="+Inf"} 4',
        'd_seconds_sum{a="b"} 7.25',
        'd_seconds_count{a="b"} 4',
    ]


def test_spans_are_counted_by_service_name_kind_and_status() -> None:
    """Calls carry the labels of the OpenTelemetry Collector's span metrics, for each status one of its own."""
    samples = _counted(
        request(
            traces(
                span("GET /", kind=Span.SPAN_KIND_SERVER),
                span("GET /", kind=Span.SPAN_KIND_SERVER),
                span("GET /", kind=Span.SPAN_KIND_SERVER, error=True),
                span("GET /", kind=Span.SPAN_KIND_SERVER, status=Status(code=Status.STATUS_CODE_OK)),
                service="web",
            ),
            traces(span("GET /", kind=99), service=None),
        )
    )
    name = 'traces_span_metrics_calls_total{service_name="web",span_name="GET /",span_kind="SPAN_KIND_SERVER"'
    assert samples[name + ',status_code="STATUS_CODE_UNSET"}'] == 2
    assert samples[name + ',status_code="STATUS_CODE_ERROR"}'] == 1
    assert samples[name + ',status_code="STATUS_CODE_OK"}'] == 1
    assert _sum(samples, "traces_span_metrics_calls_total", 'service_name="missing-service-name"', 'kind="99"') == 1


def test_spans_of_one_name_are_counted_by_system() -> None:
    """Redis' GET and HTTP's are two series, and HTTP clients have one for each host, up to a bound."""
    kind = Span.SPAN_KIND_CLIENT
    many = [{"http.request.method": "GET", "server.address": f"host-{number}"} for number in range(MOST + 10)]
    tags = [{"db.system.name": "redis"}, {"db.system.name": "redis"}, *many]
    samples = _counted(request(traces(*(span("GET", kind=kind, tags=each) for each in tags), span("GET", kind=kind))))
    calls = "traces_span_metrics_calls_total"
    assert _sum(samples, calls, 'span_name="GET"', 'system="redis"') == 2
    assert _sum(samples, calls, 'system="http"', 'server_address="host-3"') == 1
    assert _sum(samples, calls, 'system="others"') == 11
    assert len([name for name in samples if name.startswith(calls)]) == MOST + 2
    assert sum(value for name, value in samples.items() if name.startswith(calls) and "system" not in name) == 1


def test_durations_fall_into_the_collectors_buckets() -> None:
    """A duration counts in its bucket and all above it; sum and count are of all spans; none is negative."""
    samples = _counted(
        request(
            traces(
                span(duration=2 * MILLISECOND),
                span(duration=2 * MILLISECOND + 1),
                span(duration=60 * SECOND),
                span(duration=-SECOND),
            )
        )
    )
    buckets = {
        name.partition('le="')[2].rstrip('"}'): value
        for name, value in samples.items()
        if "duration_seconds_bucket" in name
    }
    assert list(buckets) == [*map(str, BOUNDS), "+Inf"]
    assert (buckets["0.002"], buckets["0.004"], buckets["15.0"], buckets["+Inf"]) == (2, 3, 3, 4)
    assert _sum(samples, "traces_span_metrics_duration_seconds_count") == 4
    assert _sum(samples, "traces_span_metrics_duration_seconds_sum") == 0.004000001 + 60


def test_what_is_not_kept_is_not_counted() -> None:
    """Spans without valid ids, and requests that cannot be read, count nothing."""
    bad = traces(span(trace_id=b"short"), span(trace_id=bytes(16)), span(span_id=bytes(8)), span(span_id=b""))
    assert count_spans(request(bad)) == {}
    assert count_spans(b"\xff no request") == {}


def test_series_are_bounded() -> None:
    """Span names without end fill no memory: what has no place is counted as left out, what has one goes on."""
    metrics = SpanMetrics()
    metrics.add(count_spans(request(traces(*(span(f"GET /{number}") for number in range(SERIES_LIMIT + 10))))))
    metrics.add(count_spans(request(traces(span("GET /0"), span("another")))))
    samples = _samples(metrics)
    assert samples["causal_span_metrics_left_out_total"] == 11
    assert _sum(samples, "traces_span_metrics_calls_total") == SERIES_LIMIT + 1
    assert _sum(samples, "traces_span_metrics_calls_total", 'span_name="GET /0"') == 2
