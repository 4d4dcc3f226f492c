"""Each example is followed as its README says, and leaves the traces that it tells of.

Every command of examples/celery/README.md, examples/django/README.md, examples/fastapi/README.md,
examples/platform/README.md and examples/testing/README.md is run: the collector and what asks it in the tests that take
long, where the others send to a receiver whose spans are looked at.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from redis import Redis

from causal_otel.testing import servers
from causal_otel.testing.process import claim_port
from tests.docs.pages import read
from tests.examples.following import copied, followed, listens, page, trace_id
from tests.faults.programs import environment
from tests.services.received import ReceivedSpan, ReceivedSpans
from tests.span_relations import assert_span
from tests.waiting import wait_until

_COLLECTOR = "causal-otel"
_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "_causal_otel_pytest"}
"""A reader has ours alone; the environment of these tests has a dozen others."""


@pytest.fixture
def broker(redis_url: str) -> Iterator[dict[str, str]]:
    """The variable that names an empty database of the Redis."""
    url = f"{redis_url.rpartition('/')[0]}/7"
    with Redis.from_url(url) as redis:
        redis.flushdb()
        yield {"REDIS_URL": url}
        redis.flushdb()


@pytest.fixture
def database(postgres_url: str) -> Iterator[dict[str, str]]:
    """The variables that name an empty database of the PostgreSQL."""
    name = f"example_{secrets.token_hex(4)}"
    parts = urlsplit(postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield {
            "POSTGRES_HOST": parts.hostname or "",
            "POSTGRES_PORT": str(parts.port or 5432),
            "POSTGRES_USER": parts.username or "",
            "POSTGRES_PASSWORD": parts.password or "",
            "POSTGRES_DB": name,
            "POSTGRES_URL": parts._replace(path=f"/{name}").geturl(),
        }
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _spans(receiver: ReceivedSpans, trace: str, *names: str) -> list[ReceivedSpan]:
    """The spans of a trace in the order of their starts, once they are these."""

    def complete(spans: list[ReceivedSpan]) -> bool:
        return Counter(span["name"] for span in spans) == Counter(names)

    return sorted(receiver.wait_for(complete, trace_id=trace), key=lambda span: span["start"])


def _named(spans: list[ReceivedSpan], name: str) -> list[ReceivedSpan]:
    return [span for span in spans if span["name"] == name]


def _below(spans: list[ReceivedSpan], parent: ReceivedSpan) -> list[ReceivedSpan]:
    return [span for span in spans if span["parent_span_id"] == parent["span_id"]]


def _links(span: ReceivedSpan) -> list[tuple[str, str]]:
    return [(link["attributes"]["causal.link"], link["span_id"]) for link in span["links"]]


def test_fastapi(tmp_path: Path, receiver: ReceivedSpans) -> None:
    """Two suppliers are asked at once; where one of them fails, its exception is told where it was raised."""
    offers, price = "GET /offers/{article}", "GET /suppliers/{supplier}/prices/{article}"
    with followed("fastapi", tmp_path, but=_COLLECTOR, endpoint=receiver.endpoint) as (_, well, failed):
        spans = _spans(receiver, trace_id(well), offers, "GET", "GET", price, price, "choose an offer")
        assert {span["service"] for span in spans} == {"shop"}
        (request,), asked = _named(spans, offers), _named(spans, "GET")
        assert_span(request, None, lasts=0.02)
        for client in asked:
            assert assert_span(client, request, lasts=0.02)["http.response.status_code"] == 200
            (served,) = _below(spans, client)
            assert assert_span(served, client, lasts=0.02)["http.route"] == price.removeprefix("GET ")
        assert max(client["start"] for client in asked) < min(client["end"] for client in asked)
        (chosen,) = _named(spans, "choose an offer")
        assert assert_span(chosen, request) == {"offers": 2}
        assert chosen["start"] >= max(client["end"] for client in asked)

        spans = receiver.wait_for(lambda spans: bool(_named(spans, offers)), trace_id=trace_id(failed))
        (request,) = _named(spans, offers)
        assert assert_span(request, None, error="httpx.HTTPStatusError")["http.response.status_code"] == 502
        (client,) = (span for span in _named(spans, "GET") if span["status"]["code"] == "ERROR")
        assert_span(client, request, error="500", lasts=0.02)
        (served,) = _below(spans, client)
        assert_span(served, client, error="KeyError", lasts=0.02)


def test_celery(tmp_path: Path, receiver: ReceivedSpans, broker: dict[str, str]) -> None:
    """A canvas is one trace of two services; what a task follows from are links of it."""
    with followed("celery", tmp_path, but=_COLLECTOR, endpoint=receiver.endpoint, **broker) as (_, ordered):
        tasks = [*["press.print_page"] * 4, "press.bind_book", *["press.ship"] * 2]
        names = [f"{verb} {task}" for task in tasks for verb in ("send", "process")]
        order, *spans = _spans(receiver, trace_id(ordered), "order a book", "glue", *names)
        assert assert_span(order, None) == {"pages": 4}
        assert order["service"] == "press"
        for sent in _named(spans, "send press.print_page"):
            assert_span(sent, order)
            (printed,) = _below(spans, sent)
            assert assert_span(printed, sent, lasts=0.05)["celery.task.state"] == "SUCCESS"
            assert printed["service"] == "press-worker"
            assert _links(printed) == [("group", order["span_id"])]
        pages = _named(spans, "process press.print_page")
        (bound,) = _named(spans, "process press.bind_book")
        (sent,) = _named(spans, "send press.bind_book")
        assert assert_span(bound, sent)["celery.task.state"] == "SUCCESS"
        assert Counter(_links(bound)) == Counter(("chord-header", span["span_id"]) for span in pages)
        (glued,) = _named(spans, "glue")
        assert assert_span(glued, bound) == {"pages": 4}
        first, second = _named(spans, "process press.ship")
        assert assert_span(first, _named(spans, "send press.ship")[0])["celery.task.state"] == "RETRY"
        assert assert_span(second, _named(spans, "send press.ship")[0])["celery.task.state"] == "SUCCESS"
        assert _links(second) == [("chain", bound["span_id"]), ("retry", first["span_id"])]
        assert second["start"] - first["start"] >= 0.9e9


@pytest.mark.long
def test_what_beat_sends(tmp_path: Path, receiver: ReceivedSpans, broker: dict[str, str]) -> None:
    """What the schedule sends is a trace of its own."""
    sent, counted = "send press.count_paper", "process press.count_paper"
    with followed("celery", tmp_path, but=r"causal-otel|python", endpoint=receiver.endpoint, **broker):
        spans = receiver.wait_for(lambda spans: bool(_named(spans, counted)))
        root, attempt = _spans(receiver, _named(spans, counted)[0]["trace_id"], sent, counted)
        assert_span(root, None)
        assert assert_span(attempt, root)["celery.task.state"] == "SUCCESS"


def test_django(tmp_path: Path, receiver: ReceivedSpans, database: dict[str, str]) -> None:
    """A view's queries are below its request, each with the line that asks: one for the books, one for each author."""
    but = rf"{_COLLECTOR}|gunicorn|curl .*:8001"
    with followed("django", tmp_path, but=but, endpoint=receiver.endpoint, **database) as (*_, listed, _):
        _assert_n_plus_one(receiver, trace_id(listed), database)
        name = "GET /books/<int:number>"
        (request,) = _named(receiver.wait_for(lambda spans: bool(_named(spans, name))), name)
        spans = receiver.wait_for(lambda spans: len(spans) >= 3, trace_id=request["trace_id"])
        assert assert_span(request, None)["http.route"] == "/books/<int:number>"
        (described,) = _named(spans, "describe the book")
        assert assert_span(described, request) == {"number": 2}
        (query,) = (span for span in spans if "JOIN" in span["attributes"].get("db.query.text", ""))
        assert assert_span(query, request)["db.system.name"] == "postgresql"


@pytest.mark.long
def test_django_under_wsgi(tmp_path: Path, receiver: ReceivedSpans, database: dict[str, str]) -> None:
    """The same under gunicorn."""
    but = rf"{_COLLECTOR}|uvicorn|curl .*:8000"
    with followed("django", tmp_path, but=but, endpoint=receiver.endpoint, **database) as (*_, listed):
        _assert_n_plus_one(receiver, trace_id(listed), database)


def _assert_n_plus_one(receiver: ReceivedSpans, trace: str, database: dict[str, str]) -> None:
    books, author = 'SELECT "library_book"', 'SELECT "library_author"'
    spans = receiver.wait_for(lambda spans: bool(_named(spans, "GET /books")), trace_id=trace)
    (request,) = _named(spans, "GET /books")
    assert assert_span(request, None)["http.response.status_code"] == 200
    assert (request["service"], request["kind"]) == ("library", "SERVER")
    queries = [*_named(spans, books), *_named(spans, author)]
    assert [span["name"] for span in queries] == [books, *[author] * 4]
    for query in queries:
        told = assert_span(query, request)
        assert told["db.namespace"] == database["POSTGRES_DB"]
        assert told["causal.code.origin"].startswith("library/views.py:")
        assert told["causal.code.origin"].endswith(" books()")


def test_testing(tmp_path: Path) -> None:
    """The suite passes within its committed budgets, which an update leaves as they are, and writes a report."""
    with followed("testing", tmp_path, **_PLUGINS):
        report = (tmp_path / "testing" / "traces.html").read_text(encoding="utf-8")
        assert "GET /orders/{number}" in report
        budgets = "causal-budget.jsonl"
        assert (tmp_path / "testing" / budgets).read_text() == read(f"examples/testing/{budgets}")


@pytest.mark.long
def test_testing_tells_what_got_slow(tmp_path: Path) -> None:
    """Without the option that loads articles together, the suite fails, and says what the README shows."""
    place = copied("testing", tmp_path)
    store, readme = place / "store.py", read(page("testing"))
    together = ".selectinload(Item.article)"
    assert f"remove `{together}`" in readme
    store.write_text(store.read_text(encoding="utf-8").replace(together, ""), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=place, env=environment(**_PLUGINS), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    for line in ("E       -     SELECT articles", "E       +     5× SELECT articles", "1 failed, 1 passed in "):
        assert line in readme
        assert line in done.stdout
    assert "why: " in done.stdout


@pytest.fixture
def platform(broker: dict[str, str], database: dict[str, str]) -> Iterator[dict[str, str]]:
    """The variables of the platform's three databases."""
    with servers.bolt() as graph:
        yield {
            **broker, **database,
            "NEO4J_URL": graph.url, "NEO4J_USER": graph.user, "NEO4J_PASSWORD": graph.password,
        }  # fmt: skip


@pytest.mark.long
def test_platform(tmp_path: Path, receiver: ReceivedSpans, platform: dict[str, str]) -> None:
    """A request is one trace through API, queue, worker and another service."""
    with followed("platform", tmp_path, but=_COLLECTOR, endpoint=receiver.endpoint, **platform) as (_, asked):
        scored = "POST /v1/score"
        spans = receiver.wait_for(
            lambda spans: bool(_named(spans, scored) and _named(spans, "process analyse")), trace_id=trace_id(asked)
        )
        (request,), (sent,) = _named(spans, "POST /api/analyses"), _named(spans, "send analyse")
        assert_span(request, None)
        assert_span(sent, request)
        (attempt,), (weighed,) = _named(spans, "process analyse"), _named(spans, "weigh suppliers")
        assert assert_span(attempt, sent, lasts=0.03)["celery.task.state"] == "SUCCESS"
        assert assert_span(weighed, attempt, lasts=0.03) == {"suppliers": 4}
        (client,), (served,) = _named(spans, "POST"), _named(spans, scored)
        assert_span(client, weighed, lasts=0.03)
        assert assert_span(served, client, lasts=0.03)["http.response.status_code"] == 200
        assert [span["service"] for span in (request, attempt, served)] == ["demo-api", "demo-worker", "demo-scoring"]


@pytest.mark.long
def test_the_platform_ends_together(tmp_path: Path, platform: dict[str, str]) -> None:
    """When its script is told to end, so are the programs, and nothing of them is left."""
    ports = {name: str(claim_port(None, name)) for name in ("API_PORT", "SCORING_PORT")}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = subprocess.Popen(
        ["./start.sh"],
        cwd=copied("platform", tmp_path),
        env=environment(PATH=programs, TRACING_EXPORTER="none", **platform, **ports),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: all(listens(int(port)) for port in ports.values()))
        script.terminate()
        script.wait(60)
        with pytest.raises(ProcessLookupError):
            os.killpg(script.pid, 0)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(script.pid, signal.SIGKILL)
        script.wait()


@pytest.mark.long
@pytest.mark.parametrize("name", ["celery", "django", "fastapi", "platform"])
def test_every_command(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The collector that the README starts has the traces that it says, and so do all other commands what it shows."""
    needed = {"celery": "broker", "django": "database", "platform": "platform"}.get(name)
    with followed(name, tmp_path, **(request.getfixturevalue(needed) if needed else {})):
        pass
