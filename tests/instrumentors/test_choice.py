"""What ``install(instrumentors=...)`` chooses among what is installed, and what it refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest

import causal_otel
from causal_otel.configuration.others_names import REPLACED
from causal_otel.instrument.registry import BUILT_IN
from causal_otel.instrumentors.choice import choose
from causal_otel.instrumentors.known import KNOWN, replaced_by_ours
from causal_otel.settings import SettingError
from tests.docs.pages import read

OURS = {*BUILT_IN, "logs"}


ALL = {"grpc_client", "grpc_server", "jinja2", "requests", "urllib3"}
"""What ``"all"`` is, of those that the tests' environment has."""


def _chosen(asked: Any, ours: set[str] = OURS) -> set[str]:
    return {each.entry.name for each in choose(asked, ours).chosen}


def _others(asked: Any, ours: set[str] = OURS) -> dict[str, str]:
    return {each.name: str(each) for each in choose(asked, ours).others}


@pytest.mark.parametrize("asked", [None, False, [], {}, ()])
def test_nothing(asked: Any) -> None:
    """Nobody has asked for any."""
    assert choose(asked, OURS) == ([], [])


@pytest.mark.parametrize("asked", ["all", True, ["all"], {"all": True}])
def test_all(asked: Any) -> None:
    """All of the list that are installed, without those that must be named, and none that ours take the place of."""
    assert _chosen(asked) == ALL
    others = _others(asked)
    assert others["asyncpg"] == "asyncpg: replaced by the patch asyncpg (opentelemetry-instrumentation-asyncpg 0.66b1)"
    assert others["fastapi"].startswith("fastapi: replaced by the patch asgi (")
    assert others["logging"].startswith("logging: replaced by the setting logs (")
    assert "sqlite3" not in others


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (["requests"], {"requests"}),
        (("opentelemetry-instrumentation-sqlite3",), {"sqlite3"}),
        (["Opentelemetry_Instrumentation_SQLite3", "jinja2"], {"sqlite3", "jinja2"}),
        (["all", "sqlite3"], ALL | {"sqlite3"}),
        (["all", "-jinja2"], ALL - {"jinja2"}),
        (["-jinja2"], ALL - {"jinja2"}),
        ({"jinja2": False}, ALL - {"jinja2"}),
        ({"requests": {"excluded_urls": "x"}, "jinja2": True, "urllib3": False}, {"jinja2", "requests"}),
        ({"all": True, "requests": {"excluded_urls": "x"}}, ALL),
        ({"all": True, "pymongo": False}, ALL),
    ],
)
def test_names(asked: Any, names: set[str]) -> None:
    """By entry point or distribution, however it is spelt; what only leaves out is everything else."""
    assert _chosen(asked) == names
    assert all(each.options == {} for each in choose(asked, OURS).chosen if each.entry.name != "requests")


def test_options() -> None:
    """A mapping says what an instrumentor's ``instrument()`` is given."""
    [requests] = choose({"requests": {"excluded_urls": "x"}}, OURS).chosen
    assert requests.options == {"excluded_urls": "x"}


def test_named_though_ours_trace_it(caplog: pytest.LogCaptureFixture) -> None:
    """It is not applied, and status and log say what of ours does; with ours switched off it is what the user wants."""
    assert _chosen(["redis"]) == set()
    assert _others(["redis"])["redis"].startswith("redis: replaced by the patch redis (")
    assert "the instrumentor redis is not applied: it is replaced by the patch redis" in caplog.text
    assert _chosen(["redis"], OURS - {"redis"}) == {"redis"}
    assert "redis" not in _chosen("all", OURS - {"redis"})


def test_web_frameworks() -> None:
    """``"all"`` leaves those out that a middleware of ours may trace; who names one has decided."""
    assert _others("all")["flask"].startswith("flask: replaced by the patch wsgi, where the application is wrapped")
    assert {"django", "flask"} <= _chosen("all", OURS - {"wsgi"})
    assert _chosen(["flask"]) == {"flask"}


def test_not_installed(caplog: pytest.LogCaptureFixture) -> None:
    """One of the list that is not installed is told, with how to install it, and stops nobody from starting."""
    others = _others(["pymongo", "requests"])
    assert others == {"pymongo": "pymongo: missing: pip install opentelemetry-instrumentation-pymongo"}
    assert "the instrumentor pymongo is not installed: pip install opentelemetry-instrumentation-pymongo" in caplog.text


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("requests", r"instrumentors='requests' is not allowed; it must be a list of names: \['requests'\]"),
        (7, 'instrumentors=7 is not allowed; it must be "all", names, or a mapping of names'),
        (["requets"], "instrumentors: no 'requets' is installed; did you mean requests?"),
        (["acme.corp"], "instrumentors: no 'acme.corp' is installed; installed are: .*, requests, "),
        ({"acme.corp": False}, "instrumentors: no 'acme.corp' is installed"),
        ({"requests": 1}, "instrumentors: requests=1 is not allowed; it must be True, False or arguments"),
        ({"all": {}}, r"instrumentors: all=\{\} is not allowed; it must be True or False"),
        ({"requests": {"skip_dep_check": True}}, "instrumentors: requests: skip_dep_check is not allowed"),
        ({"requests": {"tracer_provider": None}}, "instrumentors: requests: tracer_provider is not allowed"),
    ],
)
def test_refused(asked: Any, message: str) -> None:
    """What is not allowed is an error in the settings that says what is, and nothing is installed."""
    with pytest.raises(SettingError, match=message):
        causal_otel.install(exporter="none", instrumentors=asked)
    assert not causal_otel.status().installed


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("asyncpg", "asyncpg"),
        ("opentelemetry-instrumentation-redis", "redis"),
        ("Opentelemetry_Instrumentation_FastAPI", "asgi"),
        ("starlette", "asgi"),
        ("threading", "threads"),
        ("logging", "logs"),
        ("httpx2", "httpx"),
        ("requests", None),
        ("flask", None),
        ("no-such", None),
    ],
)
def test_replaced_by_ours(name: str, ours: str | None) -> None:
    """What takes the place of an instrumentor is told for its entry point and for its distribution."""
    assert replaced_by_ours(name) == ours


def test_the_page_has_the_list() -> None:
    """docs/how-to/other-libraries.md names each of the list that no patch of ours replaces, and no other."""
    listed, unasked = read("docs/how-to/other-libraries.md").partition("## The list")[2].split("These must be named:")
    unasked = unasked.partition("## What ours replaces")[0]
    names = {name for name in KNOWN if name not in REPLACED}
    named = {name for name in names if KNOWN[name].unasked or KNOWN[name].beside}
    assert set(re.findall(r"`([a-z0-9-]+)`", listed)) == names - named
    assert {
        name for row in re.findall(r"^\| (`.*?) \|", unasked, re.MULTILINE) for name in row.replace("`", "").split(", ")
    } == named


def test_the_tables_agree() -> None:
    """Each name is spelt as it is compared, none is known without a module or a reason, and no module is twice."""
    assert [name for name in (*KNOWN, *REPLACED) if name != name.lower() or "_" in name] == []
    assert [name for name, known in KNOWN.items() if not (known.modules or known.unasked)] == []
    modules = [module for known in KNOWN.values() for module in known.modules]
    assert len(modules) == len(set(modules))
