"""What others read of a process from outside: which service it is (OTEP 4719)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen

import pytest
from opentelemetry.sdk.resources import Resource

from causal_otel.profiling import process_context
from causal_otel.profiling.process_context import publish
from tests.engine.forking import forked
from tests.profiling.reading import read

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no such mapping elsewhere")


@contextmanager
def program(code: str) -> Iterator[tuple[int, str]]:
    """A program that prints a line and waits: its number, and the line."""
    with Popen([sys.executable, "-W", "error", "-c", f"{code}\ninput()"], stdin=PIPE, stdout=PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            yield child.pid, child.stdout.readline()
        finally:
            child.stdin.close()
            child.wait(60)


def test_a_process_says_which_service_it_is() -> None:
    """install() publishes the resource, which another process reads; no secret is in it."""
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    code = (
        "import causal_otel\n"
        "causal_otel.install(service_name='shop-api', environment='staging', exporter='none',\n"
        "                    resource_attributes={'db.password': 'hunter2'})\n"
        "print('installed', flush=True)"
    )
    with program(code) as (pid, _):
        (published,) = read(pid)
    assert published.version == 2
    assert before < published.at < time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert published.attributes["service.name"] == "shop-api"
    assert published.attributes["deployment.environment.name"] == "staging"
    assert published.attributes["telemetry.sdk.language"] == "python"
    assert "hunter2" not in str(published.attributes)


@pytest.mark.parametrize(
    "code",
    [
        "causal_otel.install(exporter='none', process_context=False)",
        "causal_otel.install(exporter='none').uninstall()",
        "causal_otel.install(enabled=False)",
    ],
)
def test_it_says_nothing(code: str) -> None:
    """Where that is switched off, or tracing is, or is over, there is no mapping."""
    with program(f"import causal_otel\n{code}\nprint('installed', flush=True)") as (pid, _):
        assert read(pid) == []


def test_a_forked_child_says_it_itself() -> None:
    """A child does not inherit the mapping; it has its own, which it withdraws without touching the parent's."""
    context = publish(Resource({"service.name": "forks"}))
    assert context is not None
    try:
        address = context._address

        def child() -> str:
            (published,) = read("self")
            later = published.at > parent.at
            context.withdraw()
            return f"{published.attributes} {later} {read('self')}"

        (parent,) = read("self")
        assert forked(child) == "{'service.name': 'forks'} True []"
        assert read("self") == [parent]
        assert context._address == address
    finally:
        context.withdraw()
    assert read("self") == []
    assert forked(lambda: str(read("self"))) == "[]"


def test_a_large_resource() -> None:
    """A resource of more than a page is whole."""
    given = {f"key.{number}": "x" * 50 for number in range(200)}
    context = publish(Resource(given))
    assert context is not None
    (published,) = read("self")
    context.withdraw()
    assert published.attributes == given


def test_where_it_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file in memory the mapping has its name from prctl; where that cannot be either, nothing is left."""
    monkeypatch.setattr(process_context, "_memory_file", lambda size: -1)
    context = publish(Resource({"service.name": "tests"}))
    found = read("self")
    if context is None:  # a kernel without CONFIG_ANON_VMA_NAME
        assert found == []
    else:
        context.withdraw()
        assert [each.attributes for each in found] == [{"service.name": "tests"}]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert publish(Resource({})) is None
