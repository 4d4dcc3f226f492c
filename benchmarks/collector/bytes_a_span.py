"""How much of the disk a span takes, of the kinds that a traced service really makes: those of the demo.

    python -m benchmarks.collector.bytes_a_span [--spans 200000] [--jaeger PROGRAM --jaeger-config FILE]

The demo runs on its real servers and answers some requests. Its traces are then put into a store of ours again and
again, each time with other ids, times, durations and numbers in their values, as other requests would have them: in
batches of one service, as exporters send them, over two days. The store is measured as it is written to and with its
days closed. The same spans are sent to a true Jaeger with Badger, if there is one: ``deploy/jaeger/development.yaml``
is such a configuration. What comes out is :data:`MEASURED`, from which ``make docs`` makes the sizing table of
``docs/how-to/production.md``.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, TracesData
from rich.console import Console

from causal_otel.cli.demo.scenario import play
from causal_otel.cli.demo.stage import stage
from causal_otel.collector.jaeger.legacy_model import ui_trace
from causal_otel.collector.query import DayVolume
from causal_otel.collector.store import days
from causal_otel.collector.store.compaction import close_day
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.writer import Writer
from causal_otel.testing.process import LOOPBACK, claim_port, http_status, process

__all__ = ["MEASURED", "Measured", "demo_traces", "measure"]

MEASURED = Path(__file__).with_name("bytes_a_span.json")
"""What was measured last."""

_DAYS = 2
_BATCH_SPANS = 512
_REQUESTS = 20
_SECONDS = 60.0


class Measured(NamedTuple):
    """What a span takes on the disk, in bytes.

    Args:
        spans: how many were put in.
        attributes: of a span on the average, beside those of its resource.
        spans_a_trace: on the average.
        written_to: in a day that is written to.
        closed: in a closed day.
        badger: in Jaeger's Badger, once it has been stopped; None: not measured.
        document: of JSON, as Jaeger hands it to Elasticsearch, before it is indexed.
    """

    spans: int
    attributes: float
    spans_a_trace: float
    written_to: float
    closed: float
    badger: float | None
    document: float


def demo_traces() -> list[TracesData]:
    """The traces of the demo's requests, from its real services."""
    with stage(Console(quiet=True)) as running:
        play(running)
        with httpx.Client(base_url=running.api_url, timeout=15, trust_env=False) as client:
            for _ in range(_REQUESTS):
                client.get("/api/graph/stats")
                number = client.post("/api/analyses", json={"company": "Acme"}).json()["id"]
                client.get(f"/api/analyses/{number}")
                client.get("/api/analyses/0")  # there is none: an error of the client
        traces = running.collector.traces
        deadline, before = time.monotonic() + _SECONDS, -1
        while (count := len(ids := list(traces.trace_ids(0, 2**62)))) != before and time.monotonic() < deadline:
            before = count
            time.sleep(2.0)
        found = [trace for each in ids if (trace := traces.trace(each)) is not None]
    return [trace for trace in found if len(list(_spans(trace.resource_spans))) > 1]


def _spans(resources: Sequence[ResourceSpans]) -> Iterator[tuple[ResourceSpans, object]]:
    return ((group, span) for group in resources for scope in group.scope_spans for span in scope.spans)


def _again(trace: TracesData, start: int, chance: random.Random) -> TracesData:
    """The same trace as of another request, beginning at ``start``."""
    copy = TracesData()
    copy.CopyFrom(trace)
    spans = [span for group in copy.resource_spans for scope in group.scope_spans for span in scope.spans]
    first, slower = min(span.start_time_unix_nano for span in spans), chance.uniform(0.7, 1.6)
    trace_id, ids = chance.randbytes(16), {span.span_id: chance.randbytes(8) for span in spans}
    number = str(chance.randrange(10**6))
    for span in spans:
        span.trace_id, span.span_id = trace_id, ids[span.span_id]
        span.parent_span_id = ids.get(span.parent_span_id, span.parent_span_id)
        begin, end = ((at - first) * slower for at in (span.start_time_unix_nano, span.end_time_unix_nano))
        span.start_time_unix_nano = start + int(begin)
        span.end_time_unix_nano = start + int(end) + chance.randrange(50_000)
        for each in span.attributes:
            if each.key in ("url.path", "url.full"):
                head, _, tail = each.value.string_value.rpartition("/")
                each.value.string_value = f"{head}/{number}" if tail.isdecimal() else each.value.string_value
            elif each.key == "messaging.message.id":
                each.value.string_value = f"{chance.getrandbits(128):032x}"
    return copy


def _batches(templates: Sequence[TracesData], spans: int, today: int) -> Iterator[bytes]:
    """That many spans over the days before ``today``, in requests of one service each."""
    chance = random.Random(7)
    waiting: dict[bytes, TracesData] = {}
    counts: dict[bytes, int] = {}
    made, begin = 0, (today - _DAYS) * days.DAY
    while made < spans:
        trace = _again(chance.choice(templates), begin + int(made / spans * _DAYS * days.DAY), chance)
        for group in trace.resource_spans:
            key = group.resource.SerializeToString(deterministic=True)
            batch = waiting.setdefault(key, TracesData())
            if batch.resource_spans:
                batch.resource_spans[0].scope_spans.extend(group.scope_spans)
            else:
                batch.resource_spans.append(group)
            size = sum(len(scope.spans) for scope in group.scope_spans)
            made += size
            counts[key] = counts.get(key, 0) + size
            if counts[key] >= _BATCH_SPANS:
                yield waiting.pop(key).SerializeToString()
                counts[key] = 0
    yield from (batch.SerializeToString() for batch in waiting.values())


def _volume(directory: Path) -> list[DayVolume]:
    with Reader(directory) as reader:
        return list(reader.volume().days)


def _bytes_a_span(volume: Sequence[DayVolume]) -> float:
    return sum(day.bytes for day in volume) / sum(day.spans for day in volume)


def _badger(templates: Sequence[TracesData], spans: int, program: Path, configuration: Path) -> float:
    """Bytes that a span takes in a true Jaeger's Badger."""
    ports = {
        name: claim_port(None, name) for name in ("OTLP_HTTP", "OTLP_GRPC", "QUERY", "QUERY_GRPC", "HEALTH", "METRICS")
    }
    ports |= {name: claim_port(None, name) for name in ("SAMPLING", "SAMPLING_GRPC")}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        sampling = directory / "sampling.json"
        sampling.write_text('{"default_strategy": {"type": "probabilistic", "param": 1}}')
        variables = {f"JAEGER_{key}_PORT": str(port) for key, port in ports.items()}
        variables |= {"JAEGER_LISTEN_HOST": LOOPBACK, "JAEGER_BADGER_DIR": name, "JAEGER_SAMPLING_FILE": str(sampling)}
        url = f"http://{LOOPBACK}:{ports['OTLP_HTTP']}/v1/traces"
        health = f"http://{LOOPBACK}:{ports['HEALTH']}/status"
        with (
            process(
                [program, "--config", configuration], name="jaeger", env=variables | {"PATH": ""}, cwd=directory,
                ready=lambda _: http_status(health) == 200, stop_timeout=120,
            ),
            httpx.Client(trust_env=False, timeout=_SECONDS) as client,
        ):  # fmt: skip
            sent = 0
            for body in _batches(templates, spans, days.day_of(time.time_ns())):
                client.post(url, content=body, headers={"content-type": "application/x-protobuf"}).raise_for_status()
                sent += len(list(_spans(TracesData.FromString(body).resource_spans)))
            time.sleep(5.0)  # its batches
        files = [path for folder in ("keys", "values") for path in (directory / folder).rglob("*") if path.is_file()]
        return sum(path.stat().st_blocks * 512 for path in files) / sent


def _document(templates: Sequence[TracesData]) -> float:
    """Bytes of JSON of a span as Jaeger's model has it, with the process that it belongs to."""
    total = count = 0
    for trace in templates:
        shown = json.loads(json.dumps(ui_trace(trace)))
        for span in shown["spans"]:
            span["process"] = shown["processes"][span.pop("processID")]
            total += len(json.dumps(span, separators=(",", ":")))
            count += 1
    return total / count


def measure(templates: Sequence[TracesData], spans: int, jaeger: tuple[Path, Path] | None = None) -> Measured:
    """Fill a store of ours with spans like those of ``templates``, and look how large it is.

    Args:
        templates: traces as services have made them.
        spans: how many to put in.
        jaeger: a Jaeger and a configuration of it, with Badger, to measure as well.
    """
    today = days.day_of(time.time_ns())
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        # The writer's clock is that of the days it writes to, or it would close them at once.
        clock = (today - 1) * days.DAY / 1e9 + 1
        writer = Writer(directory, retention_days=3650, clock=lambda: clock)
        writer.start()
        for body in _batches(templates, spans, today):
            writer.put(body).result(_SECONDS)
        writer.close(_SECONDS)
        written_to = _volume(directory)
        for path in days.day_files(directory).values():
            for _ in close_day(path, now=time.time(), beside=[], release=lambda: None):
                pass
        closed = _volume(directory)
    kinds = [
        span
        for trace in templates
        for group in trace.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]
    return Measured(
        sum(day.spans for day in written_to),
        round(sum(len(span.attributes) for span in kinds) / len(kinds), 1),
        round(len(kinds) / len(templates), 1),
        round(_bytes_a_span(written_to), 1),
        round(_bytes_a_span(closed), 1),
        None if jaeger is None else round(_badger(templates, spans, *jaeger), 1),
        round(_document(templates), 1),
    )


def main() -> None:
    """Measure, print, and keep it for ``make docs``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=200_000)
    parser.add_argument("--jaeger", type=Path, help="a Jaeger 2")
    parser.add_argument("--jaeger-config", type=Path, help="its configuration, with Badger")
    given = parser.parse_args()
    jaeger = None if given.jaeger is None else (given.jaeger.resolve(), given.jaeger_config.resolve())
    measured = measure(demo_traces(), given.spans, jaeger)
    MEASURED.write_text(json.dumps(measured._asdict(), indent=2) + "\n", encoding="utf-8")
    print(measured)


if __name__ == "__main__":
    main()
