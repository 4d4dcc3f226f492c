"""``causal-otel operations``, ``errors`` and ``map``: the figures of the pages as tables."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData

from causal_otel.cli import main
from causal_otel.collector.attributes import service_name
from causal_otel.collector.own_frames import own_frame
from causal_otel.collector.trends.documents import figures
from causal_otel.collector.trends.periods import DAY, Period
from causal_otel.collector.trends.slower import change_text
from causal_otel.collector.units import format_duration
from tests.cli.answering import answering
from tests.cli.storing import keep
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, MILLISECOND, MINUTE, merged, span, traces
from tests.collector.trends.platform import orders
from tests.collector.trends.slowing import slowing, went
from tests.collector.web.failing import failing

NOW = time.time_ns()


def _calls() -> Iterator[TracesData]:
    """Gateways that call two services, one of which calls the other."""
    for number in range(1000, 1030):
        at = NOW - MINUTE - number * MINUTE // 2

        def call(id: int, parent: int, kind: int, at: int = at, number: int = number) -> Span:
            length = (10 + number % 7 * id) * MILLISECOND
            return span(
                f"call {id}", trace=number, id=id, parent=parent, start=at, duration=length, kind=kind,
                error=id == 3 and number % 4 == 0,
            )  # fmt: skip

        yield merged(
            traces(call(1, 0, Span.SPAN_KIND_SERVER), service="gateway"),
            traces(call(2, 1, Span.SPAN_KIND_SERVER), service="orders"),
            traces(call(3, 1 if number % 2 else 2, Span.SPAN_KIND_SERVER), service="stock"),
        )


MESSAGES = [*failing(NOW), *_calls()]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all of them."""
    return keep(tmp_path_factory.mktemp("figures") / "traces", *MESSAGES)


def _spans() -> Iterator[tuple[str, Span]]:
    """All spans, with their services. They are of less than two days, so that no hour is in part looked at."""
    for message in MESSAGES:
        for group in message.resource_spans:
            for scoped in group.scope_spans:
                for each in scoped.spans:
                    yield service_name(group.resource), each


def _failed(each: Span) -> bool:
    return bool(each.status.code == Status.STATUS_CODE_ERROR)


def _length(each: Span) -> int:
    return int(each.end_time_unix_nano - each.start_time_unix_nano)


def _printed(capsys: pytest.CaptureFixture[str], directory: Path, *arguments: str) -> list[str]:
    command, *others = arguments
    assert main([command, "--data-dir", str(directory), "--lookback", "2d", *others]) == 0
    return capsys.readouterr().out.splitlines()


def _rows(capsys: pytest.CaptureFixture[str], directory: Path, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _printed(capsys, directory, *arguments, "--json")]


def test_operations_have_the_figures_of_their_spans(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Calls, errors, the longest and the total, those with the largest total first, and a line about all."""
    found: defaultdict[tuple[str, str], list[Span]] = defaultdict(list)
    for service, each in _spans():
        found[service, each.name].append(each)
    head, *lines, totals = _printed(capsys, directory, "operations")
    assert head.split()[:3] == ["CALLS", "ERRORS", "FAILING"]
    shown = {}
    for line in lines:
        calls, errors, _, _, _, _, _, longest, total, name = re.split(r" {2,}", line.strip())
        service, _, operation = name.rpartition(" (")[0].partition(": ")
        shown[service, operation] = [calls, errors, longest, total]
    assert shown == {
        key: [
            str(len(spans)),
            str(sum(map(_failed, spans)) or "-"),
            format_duration(max(map(_length, spans))),
            format_duration(sum(map(_length, spans))),
        ]
        for key, spans in found.items()
    }
    everything = [each for spans in found.values() for each in spans]
    said = f"{len(found)} operations, {len(everything)} calls, {sum(map(_failed, everything))} errors"
    assert totals == said


@pytest.mark.parametrize("sort", ["total", "calls", "errors", "failing", "p50", "p95", "p99", "longest"])
def test_operations_are_sorted_and_cut(directory: Path, capsys: pytest.CaptureFixture[str], sort: str) -> None:
    """The largest first; what is left out is counted."""
    rows = _rows(capsys, directory, "operations", "--sort", sort)
    key = sort if sort in ("calls", "errors") else f"{sort}_nano"
    values = [row["errors"] / row["calls"] if sort == "failing" else float(row[key]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert _rows(capsys, directory, "operations", "--sort", sort, "--limit", "2") == rows[:2]
    last = _printed(capsys, directory, "operations", "--sort", sort, "--limit", "2")[-1]
    assert last.endswith(f"{len(rows) - 2} more rows: give --limit")


def test_operations_that_got_slower_come_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With p95 as a multiple of that before, as exactly as percentiles are known; what is new, or too few calls."""
    messages = list(slowing(NOW))
    known = went(messages, NOW)
    directory = keep(tmp_path / "traces", *messages)
    command = ["operations", "--data-dir", str(directory), "--sort", "change"]
    assert main([*command, "--json"]) == 0
    rows = {row["operation"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    changes = [row["change"] or 1 for row in rows.values()]
    assert changes == sorted(changes, reverse=True)
    assert rows.keys() == known.keys()
    for name, each in known.items():
        assert rows[name]["calls_before"] == len(each.before)
        assert rows[name]["change"] == (None if each.change is None else pytest.approx(each.change, rel=0.11))
    assert main(command) == 0
    head, *lines, _ = capsys.readouterr().out.splitlines()
    column = re.split(r" {2,}", head.strip()).index("CHANGE")
    for line, (name, row) in zip(lines, rows.items(), strict=True):
        cells = re.split(r" {2,}", line.strip())
        assert cells[-1] == f"shop: {name} (server)"
        told = "-" if known[name].before else "new"
        assert cells[column] == (told if row["change"] is None else change_text(row["change"]))


def test_errors_are_grouped_by_type_and_frame(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With how many spans, when the first and the last was, and an example that has it."""
    expected: Counter[tuple[str, str]] = Counter()
    seen: defaultdict[tuple[str, str], list[Span]] = defaultdict(list)
    for _, each in _spans():
        if _failed(each):
            told = {pair.key: pair.value.string_value for pair in each.attributes}
            for event in each.events:
                told |= {pair.key: pair.value.string_value for pair in event.attributes}
            kind = told.get("exception.type") or told.get("error.type") or "error"
            key = kind, own_frame(told.get("exception.stacktrace", ""))
            expected[key] += 1
            seen[key].append(each)
    rows = _rows(capsys, directory, "errors")
    assert {(row["type"], row["frame"]): row["spans"] for row in rows} == expected
    for row in rows:
        spans = seen[row["type"], row["frame"]]
        hours = [each.start_time_unix_nano // HOUR * HOUR for each in spans]
        assert (row["first_unix_nano"], row["last_unix_nano"]) == (min(hours), max(hours))
        assert row["trace_id"] in {each.trace_id.hex() for each in spans}
        assert row["requests"] == sum(each.kind == Span.SPAN_KIND_SERVER for each in spans)
        assert sum(row["trend"]) == row["spans"]
        assert sum(each["spans"] for each in row["operations"]) == row["spans"]
    head, *lines, totals = _printed(capsys, directory, "errors")
    assert head.split()[:2] == ["SPANS", "REQUESTS"]
    assert [line.split()[0] for line in lines] == [str(row["spans"]) for row in rows]
    assert totals == f"{len(rows)} kinds of errors, {sum(expected.values())} spans that failed"


def test_the_map_has_calls_between_services(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From whom to whom, with errors and times."""
    by_id = {(each.trace_id, each.span_id): service for service, each in _spans()}
    expected: defaultdict[tuple[str, str], list[Span]] = defaultdict(list)
    for service, each in _spans():
        parent = by_id.get((each.trace_id, each.parent_span_id))
        if parent not in (None, service):
            expected[str(parent), service].append(each)
    rows = _rows(capsys, directory, "map")
    assert {(row["parent"], row["child"]): (row["calls"], row["errors"]) for row in rows} == {
        key: (len(spans), sum(map(_failed, spans))) for key, spans in expected.items()
    }
    assert {row[f"{end}_kind"] for row in rows for end in ("parent", "child")} == {"service"}
    assert len(rows) == 3
    lines = _printed(capsys, directory, "map", "--service", "orders")
    assert {line.partition(" -> ")[0].split()[-1] for line in lines[1:-1]} == {"gateway", "orders"}
    assert len(lines) == 4


def test_the_map_names_what_is_no_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Databases, brokers with how long messages waited, and hosts; with rates that a person reads."""
    chance = random.Random(5)
    requests = merged(*(each for number in range(1, 40) for each in orders(number, NOW - MINUTE, chance)))
    directory = keep(tmp_path / "traces", requests)
    document = figures(MemoryReader([requests]), "map", None, Period(NOW - 2 * DAY, NOW))
    nodes = {node["name"]: node for node in document["nodes"]}
    waits = {name: node["queue_wait_nano"] for name, node in nodes.items() if "queue_wait_nano" in node}
    assert {node["kind"] for node in nodes.values()} == {"service", "database", "broker", "external"}
    assert waits
    rows = _rows(capsys, directory, "map")
    assert {(row["parent"], row["child"]): (row["calls"], row["errors"], row["p95_nano"]) for row in rows} == {
        (edge["parent"], edge["child"]): (edge["calls"], edge["errors"], edge["p95_nano"]) for edge in document["edges"]
    }
    for row in rows:
        assert [row[f"{end}_kind"] for end in ("parent", "child")] == [
            nodes[row[end]]["kind"] for end in ("parent", "child")
        ]
        assert row.get("queue_wait_nano") == waits.get(row["parent"])
    head, *lines, _ = _printed(capsys, directory, "map")
    assert head.split()[:3] == ["CALLS", "RATE", "ERRORS"]
    for line, row in zip(lines, rows, strict=True):
        calls, rate, *_, names = re.split(r" {2,}", line.strip())
        assert calls == str(row["calls"])
        number, _, unit = rate.partition("/")
        seconds = {"s": 1, "min": 60, "h": 3600, "d": 86400}[unit]
        assert number == "<1" or float(number) == pytest.approx(row["per_second"] * seconds, rel=0.06)
        parent = row["parent"]
        if parent in waits:
            parent += f" (broker, queue wait {format_duration(waits[parent])})"
        child = row["child"] if row["child_kind"] == "service" else f"{row['child']} ({row['child_kind']})"
        assert names == f"{parent} -> {child}"


@pytest.mark.parametrize(
    ("operation", "like"),
    [("orders", ".*orders.*"), ("POST *", "POST .*"), ('"load"', "load"), ("call*", "call.*"), ("nothing", "nothing")],
)
def test_operations_of_a_name_alone_are_looked_at(
    directory: Path, capsys: pytest.CaptureFixture[str], operation: str, like: str
) -> None:
    """As in a search: a part of it, with a star, or in quotes just this; of operations and of errors."""
    wanted = [each for _, each in _spans() if re.fullmatch(like, each.name)]
    rows = _rows(capsys, directory, "operations", "--operation", operation)
    assert {row["operation"] for row in rows} == {each.name for each in wanted}
    assert sum(row["calls"] for row in rows) == len(wanted)
    rows = _rows(capsys, directory, "errors", "--operation", operation)
    assert sum(row["spans"] for row in rows) == sum(map(_failed, wanted))
    assert {each["operation"] for row in rows for each in row["operations"]} == {
        each.name for each in wanted if _failed(each)
    }


def test_one_service_alone_is_looked_at(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of operations and of errors."""
    assert {row["service"] for row in _rows(capsys, directory, "operations", "--service", "bank")} == {"bank"}
    rows = _rows(capsys, directory, "errors", "--service", "bank")
    assert {each["service"] for row in rows for each in row["operations"]} == {"bank"}


@pytest.mark.parametrize("command", ["operations", "errors", "map"])
def test_where_there_is_nothing_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Nothing is printed as JSON; a table that is empty becomes a sentence."""
    tmp_path.joinpath("traces").mkdir()
    assert _printed(capsys, tmp_path / "traces", command)[0].startswith("No ")
    assert _rows(capsys, tmp_path / "traces", command) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--sort", "newest"), "--sort: one of"),
        (("--limit", "0"), "--limit: a whole number"),
        (("--lookback", "1000d"), "longer than a year"),
        (("--lookback", "soon"), "--lookback: 'soon' is not a duration"),
    ],
)
@pytest.mark.parametrize("command", ["operations", "errors", "map"])
def test_what_makes_no_sense_is_refused(
    directory: Path, capsys: pytest.CaptureFixture[str], command: str, options: tuple[str, ...], said: str
) -> None:
    """With a sentence on stderr, and status 2."""
    assert main([command, "--data-dir", str(directory), *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answers", "name"),
    [
        ({"/api/echo": (200, "text/plain", b"echo")}, "Tempo"),
        ({"/api/services": (200, "application/json", b'{"data": [], "errors": null}')}, "Jaeger"),
    ],
)
@pytest.mark.parametrize("command", ["operations", "errors", "map"])
def test_other_back_ends_have_no_such_figures(
    capsys: pytest.CaptureFixture[str], command: str, answers: dict[str, tuple[int, str, bytes]], name: str
) -> None:
    """Which is said plainly, with what to do instead."""
    with answering(answers) as found:
        assert main([command, "--url", found.url]) == 1
    assert f"is {name}, which keeps no sums of" in capsys.readouterr().err


def test_an_older_collector_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    """One that does not have the document yet."""
    with answering({"/status.json": (200, "application/json", b'{"store": {}, "writer": {}}')}) as found:
        assert main(["errors", "--url", found.url]) == 1
    assert "has no /errors.json: it is a collector of an older release" in capsys.readouterr().err


def test_what_spans_say_cannot_steer_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters of names and types are shown as such."""
    evil = "\x1b[2Jshop\nx\u202e"
    each = span(evil, trace=5, start=NOW - MINUTE, error=True, tags={"error.type": evil})
    directory = keep(tmp_path / "traces", traces(each, service=evil))
    for command in ("operations", "errors"):
        lines = _printed(capsys, directory, command)
        assert len(lines) == 3
        assert not any("\x1b" in line or "\u202e" in line for line in lines)
