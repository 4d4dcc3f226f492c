"""``--url``: the commands that read traces ask a running collector, as they ask a directory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from causal_otel.cli import main
from causal_otel.cli.remote.asking import Asked
from causal_otel.cli.remote.jaeger import JaegerSource
from causal_otel.collector.analysis import build
from causal_otel.collector.query import Query
from causal_otel.collector.query_line import parse
from causal_otel.testing.process import LOOPBACK, claim_port
from tests.cli.storing import AFTER, BEFORE, ORDER, REPORT, TRACES, keep
from tests.collector.analysis.making import BEGIN, MS, span, trace
from tests.collector.running import Running, running
from tests.waiting import wait_until

_TIME = ("--start", BEFORE, "--end", AFTER)
_TOKEN = "a-token-of-the-tests"
_LINKED = "0c" * 16


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with traces, which the collector shows."""
    others = trace(
        span("root", end=100, operation="GET /tasks", kind="server", trace_id=_LINKED),
        span("call", "root", 20, 60, operation="GET", kind="client", trace_id=_LINKED),
    )
    return keep(tmp_path_factory.mktemp("kept") / "traces", *TRACES.values(), others)


@pytest.fixture(scope="module")
def collector(directory: Path) -> Iterator[Running]:
    """A collector over it, in a process of its own."""
    with running(directory, "--retention", "3650d", environ={"CAUSAL_OTEL_COLLECTOR_TOKEN": _TOKEN}) as found:
        yield found


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands have the collector's token."""
    monkeypatch.setenv("CAUSAL_OTEL_COLLECTOR_TOKEN", _TOKEN)


def _both(capsys: pytest.CaptureFixture[str], directory: Path, collector: Running, *arguments: str) -> tuple[str, str]:
    """What a command prints of the directory, and of the collector."""
    command, *others = arguments
    printed = []
    for where in (("--data-dir", str(directory)), ("--url", collector.pages)):
        assert main([command, *where, *others]) == 0
        printed.append(capsys.readouterr().out)
    return printed[0], printed[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("why", ORDER),
        ("why", ORDER, "--json"),
        ("why", "--slowest", "GET", *_TIME),
        ("why", "--error", *_TIME),
        ("trace", ORDER),
        ("trace", ORDER, "--json"),
        ("traces", *_TIME),
        ("traces", "--json", *_TIME),
        ("traces", "--sort", "longest", "--limit", "1", *_TIME),
        ("traces", "--service", "web", *_TIME),
        ("traces", "--operation", '"POST /orders"', *_TIME),
        ("traces", "user.id>=42", "db.system.name=post*", *_TIME),
        ("traces", "user.id=42", "!nothing", "user.id", *_TIME),
        ("traces", "error.type~^(timeout|refused)$", *_TIME),
        ("traces", "duration>=3s", *_TIME),
        ("traces", 'name="POST /"* OR name~report', '!http.route="GET /orders"*', *_TIME),
        ("traces", "--sort", "oldest", "--limit", "1", *_TIME),
        ("traces", "--errors", "--max-duration", "50ms", *_TIME),
        ("traces", "--start", BEFORE),
        ("traces", "--lookback", "1h"),
        ("operations", *_TIME),
        ("operations", "--json", "--sort", "calls", "--service", "api", *_TIME),
        ("errors", *_TIME),
        ("errors", "--json", *_TIME),
        ("operations", "--operation", "get*", *_TIME),
        ("errors", "--operation", '"GET"', "--sort", "last", *_TIME),
        ("map", *_TIME),
        ("map", "--service", "api", *_TIME),
        ("map", "--service", "postgresql", "--json", *_TIME),
        ("map", "--service", "nobody", *_TIME),
        ("map", "--json", *_TIME),
    ],
)
def test_a_collector_says_what_its_files_say(
    directory: Path, collector: Running, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    """Whatever is asked: by id, by a search, for the slowest."""
    of_files, of_collector = _both(capsys, directory, collector, *arguments)
    assert of_collector == of_files


def test_what_is_not_there_is_said_as_of_files(collector: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has that trace, and there are no log records of another."""
    assert main(["why", "--url", collector.pages, "c" * 32]) == 1
    assert f"there is no trace {'c' * 32}" in capsys.readouterr().err
    assert main(["trace", "--url", collector.pages, ORDER, "--logs"]) == 0
    assert "It has no log records." in capsys.readouterr().out


# -- Jaeger's API, which the collector has as well ---------------------------------------------------------------------


@pytest.fixture
def jaeger(collector: Running) -> Iterator[JaegerSource]:
    """The collector, asked as if it were a Jaeger."""
    asked = Asked(collector.pages, _TOKEN)
    yield JaegerSource(asked)
    asked.close()


def _query(**given: object) -> Query:
    return Query(BEGIN, BEGIN + 60_000 * MS, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (_query(service="api"), [ORDER, _LINKED]),
        (_query(), [REPORT, ORDER, _LINKED]),
        (_query(operation="POST /orders"), [ORDER]),
        (_query(operation_like="get*"), [REPORT, _LINKED, ORDER]),
        (_query(operation_like="GET", service="web"), [REPORT]),
        (_query(errors=True), [ORDER]),
        (_query(shortest=1000 * MS), [REPORT]),
        (_query(longest=5 * MS), [ORDER]),
        (_query(kind="server", service="api"), [_LINKED, ORDER]),
        (_query(system="postgresql"), [ORDER]),
        (_query(where=parse("user.id=42").where), [ORDER]),
        (_query(where=parse("service=web OR user.id=42").where), [REPORT, ORDER]),
        (_query(where=parse("service=api status=error name=GET").where), [ORDER]),
        (_query(sort="oldest"), [_LINKED, ORDER, REPORT]),
        (_query(sort="longest"), [REPORT, ORDER, _LINKED]),
        (_query(sort="spans", limit=1), [ORDER]),
    ],
)
def test_jaegers_search_finds_the_same(jaeger: JaegerSource, query: Query, expected: list[str]) -> None:
    """A service and an operation at a time, and what it cannot look for is looked at here."""
    found = jaeger.search(query)
    assert found.complete
    assert sorted(each.hex() for each in found.trace_ids) == sorted(expected)
    if query.sort != "newest":
        assert [each.hex() for each in found.trace_ids] == expected
    assert [each.trace_id for each in jaeger.summaries(found.trace_ids)] == list(found.trace_ids)


def test_a_trace_in_jaegers_older_form_is_the_same_trace(jaeger: JaegerSource) -> None:
    """As it comes with a search: names, kinds, parents, statuses, attributes; times to the microsecond."""
    jaeger.search(_query(service="api"))
    found, expected = jaeger.trace(bytes.fromhex(ORDER)), build(TRACES[ORDER])
    assert found is not None
    view = build(found)
    assert [
        (span.service, span.name, span.kind, span.error, span.depth, span.start, span.end, span.attributes, span.system)
        for span in view.spans
    ] == [
        (span.service, span.name, span.kind, span.error, span.depth, span.start, span.end, span.attributes, span.system)
        for span in expected.spans
    ]
    assert [span.status_message for span in view.spans] == [span.status_message for span in expected.spans]
    assert [span.scope.name for span in view.spans] == ["tests"] * 4


def test_a_single_trace_comes_in_the_newer_form(jaeger: JaegerSource) -> None:
    """Nothing is lost: it is OTLP."""
    found = jaeger.trace(bytes.fromhex(ORDER))
    assert found is not None
    assert [each.message for each in build(found).spans] == [each.message for each in build(TRACES[ORDER]).spans]
    assert jaeger.trace(bytes(15) + b"\1") is None


# -- what can go wrong ---------------------------------------------------------------------------------------------


def test_a_token_that_is_missing_or_wrong_is_said(
    collector: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And how to give one, which may be in a file; it is never printed."""
    monkeypatch.delenv("CAUSAL_OTEL_COLLECTOR_TOKEN")
    assert main(["why", "--url", collector.pages, ORDER]) == 1
    assert capsys.readouterr().err == (
        f"causal-otel why: {collector.pages} wants a token: set CAUSAL_OTEL_COLLECTOR_TOKEN, or "
        "CAUSAL_OTEL_COLLECTOR_TOKEN_FILE\n"
    )
    (tmp_path / "tokens").write_text("an-old-one\nsecret-and-wrong\n")
    monkeypatch.setenv("CAUSAL_OTEL_COLLECTOR_TOKEN_FILE", str(tmp_path / "tokens"))
    assert main(["why", "--url", collector.pages, ORDER]) == 1
    told = capsys.readouterr().err
    assert "does not take the token that is there: set CAUSAL_OTEL_COLLECTOR_TOKEN" in told
    assert "secret-and-wrong" not in told
    (tmp_path / "tokens").write_text(f"an-old-one\n{_TOKEN}\n")
    # The collector slows who has shown a wrong one.
    wait_until(lambda: main(["why", "--url", collector.pages, ORDER]) == 0, lambda: capsys.readouterr().err)


@pytest.mark.parametrize(
    ("url", "status", "message"),
    [
        ("collector", 2, "--url: write an address such as http://127.0.0.1:16686, not 'collector'"),
        ("ftp://collector", 2, "--url: write an address"),
        (
            f"http://{LOOPBACK}:{{free}}",
            1,
            "does not answer (Connection refused): is it running, and is that its address?",
        ),
        (f"http://user:hunter2@{LOOPBACK}:{{free}}", 1, f"http://…@{LOOPBACK}:"),
        ("{otlp}", 1, "answers, but not as a query API of causal_otel's collector, Jaeger or Tempo: give the address"),
    ],
)
def test_an_address_that_is_wrong_is_said(
    collector: Running, capsys: pytest.CaptureFixture[str], url: str, status: int, message: str
) -> None:
    """What is there instead, and what to give; a password in it is not shown."""
    given = url.format(free=claim_port(None, "nobody"), otlp=collector.http)
    assert main(["why", "--url", given, ORDER]) == status
    told = capsys.readouterr().err
    assert message in told
    assert "hunter2" not in told


def test_a_directory_and_an_address_are_one_too_many(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One of them is meant."""
    assert main(["traces", "--url", "http://127.0.0.1:1", "--data-dir", str(tmp_path)]) == 2
    assert "give either --data-dir or --url, not both" in capsys.readouterr().err


def test_a_search_of_more_than_an_answer_holds_says_so(collector: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """The collector lists five hundred at the most, and the command takes what there is."""
    assert main(["traces", "--url", collector.pages, "--limit", "9999", "--json", *_TIME]) == 0
    assert len([json.loads(line) for line in capsys.readouterr().out.splitlines()]) == 3
