"""Calls of asyncpg that fail, each of which leaves exactly one failed span, and servers that are late or elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from opentelemetry.trace import SpanKind, StatusCode

from tests.services.slow import SlowServer, slow
from tests.span_relations import assert_span, attributes, seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    import asyncpg
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.recording import Recording

__all__ = ["SECRET", "Failure", "fails", "late_postgres", "pairs", "via"]

SECRET = "p4ssw0rd-planted"


@pytest.fixture
def late_postgres(postgres_url: str) -> Iterator[SlowServer]:
    """A server whose answers can be made to come late, and that can go away."""
    parts = urlsplit(postgres_url)
    with slow(parts.hostname or "127.0.0.1", parts.port or 5432) as server:
        yield server


@pytest_asyncio.fixture
async def pairs(connection: asyncpg.Connection[Any]) -> None:
    """The table ``pairs``, empty, in which an id that is there twice is refused at COMMIT."""
    await connection.execute(
        "DROP TABLE IF EXISTS pairs; CREATE TABLE pairs (id int UNIQUE DEFERRABLE INITIALLY DEFERRED, n int)"
    )


def via(postgres_url: str, port: int, **changed: str) -> str:
    """The same URL with another port, or another ``user`` and so on."""
    parts = urlsplit(postgres_url)
    user = changed.get("user", parts.username or "postgres")
    return f"postgresql://{user}:{SECRET}@127.0.0.1:{port}/{changed.get('database', parts.path.strip('/'))}"


@dataclass(frozen=True)
class Failure:
    """The one span that a failing call has left, and how long the call took."""

    span: ReadableSpan
    error: BaseException
    elapsed: float

    @property
    def attributes(self) -> dict[str, Any]:
        return attributes(self.span)

    @property
    def seconds(self) -> float:
        return seconds(self.span)


async def fails(recorded: Recording, call: Callable[[], Awaitable[Any]], *others: str) -> Failure:
    """What the one failed span inside a root is, besides spans named ``others`` that went well.

    It is a CLIENT span under the root, ERROR with ``error.type``, tells the error's SQLSTATE, and took no longer than
    the call.
    """
    recorded.clear()
    with recorded.tracer.start_as_current_span("root") as root:
        began = perf_counter()
        with pytest.raises(Exception) as caught:  # each test says which one
            await call()
        elapsed = perf_counter() - began
    bad = [span for span in recorded.spans if span.status.status_code is StatusCode.ERROR and span.name != "root"]
    good = [span for span in recorded.spans if span not in bad]
    assert sorted(span.name for span in good) == sorted([*others, "root"])
    for span in good:
        if span.name != "root":
            assert_span(span, root, cancelled=bool(attributes(span).get("causal.cancelled")))
    (span,) = bad
    assert_span(span, root, error="*", within=elapsed)
    assert span.kind is SpanKind.CLIENT
    failure = Failure(span, caught.value, elapsed)
    state = getattr(caught.value, "sqlstate", None)
    assert failure.attributes.get("db.response.status_code") == state
    if state:
        assert failure.attributes["error.type"] == state
    assert failure.attributes["db.system.name"] == "postgresql"
    assert span.status.description == type(caught.value).__name__
    assert SECRET not in span.to_json()
    return failure
