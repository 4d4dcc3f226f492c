"""What is told of libraries that nothing traces."""

from __future__ import annotations

from causal_otel.instrumentors import Suggestion, suggest
from causal_otel.instrumentors.suggestions import advice


def test_suggestions() -> None:
    """For a library of the list its instrumentor, and whether that is installed; else nothing."""
    assert suggest(["requests", "asyncpg", "pymongo", "mysql.connector", "no_such_module"]) == [
        Suggestion("requests", "requests", "opentelemetry-instrumentation-requests", True),
        Suggestion("pymongo", "pymongo", "opentelemetry-instrumentation-pymongo", False),
        Suggestion("mysql.connector", "mysql", "opentelemetry-instrumentation-mysql", False),
    ]


def test_in_a_line() -> None:
    """What to paste, and where nothing is to be had, nothing."""
    assert advice("requests") == 'instrumentors=["requests"]'
    assert advice("pymongo") == 'pip install opentelemetry-instrumentation-pymongo, and instrumentors=["pymongo"]'
    assert advice("arq") == ""
