"""What options show of parameters, keys and channels passes the redaction as any attribute does, before it is cut."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

import causal_otel
from causal_otel.engine.context import suppress as untraced
from causal_otel.export.encoder import Encoder
from causal_otel.export.privacy import Policy
from causal_otel.patches.asyncpg import AsyncpgOptions
from causal_otel.patches.neo4j import Neo4jOptions
from causal_otel.patches.redis import RedisOptions
from causal_otel.patches.sqlalchemy import SqlalchemyOptions
from tests.patches.any_engine import any_engine, url_of
from tests.patches.either import close, settle
from tests.patches.stubs import query, warm
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from causal_otel.patch_choice import Patches
    from tests.services.bolt_stub import BoltStub

PARAMETER = "db.query.parameter."
PATTERN = "tenant-[0-9a-f]{16}"
TENANT = "tenant-0123456789abcdef"
PLANTED = {
    "email": "ann@shop.example",
    "token": "t0k3n-planted",
    "note": f"for {TENANT}",
    "long_note": "x" * 240 + f" {TENANT}",
    "digits": "x" * 245 + " 4539578763621486",
    "pair": "x" * 230 + " password=hunter2hunter2",
    "nested": "{'email': 'bob@shop.example'}",
}
"""Parameters that are secret by a name of the user's or of ours, by a pattern or by a rule; some where they are cut."""
UNNAMED = list(PLANTED.values())[2:]
"""Those of them that are secret by whatever name."""
SECRETS = ("ann@shop", "bob@shop", "t0k3n", "tenant-0", "45395787", "hunter2")
"""What is not to be seen: the beginnings of the secrets."""


class Odd:
    """What cannot be shown."""

    def __str__(self) -> str:
        raise LookupError


@contextmanager
def _redacted(patches: Patches) -> Iterator[Recording]:
    """The patches at work with a policy that has keys and patterns of the user's."""
    policy = Policy(keys=["email"], patterns=[PATTERN])
    with recording(patches) as recorded:
        recorded.provider.core.redaction = policy
        yield recorded
        assert recorded.spans
        exported = b"".join(body for body, _ in Encoder(redaction=policy).encode(recorded.spans))
        assert [secret for secret in SECRETS if secret.encode() in exported] == []


def _parameters(recorded: Recording) -> list[dict[str, Any]]:
    """The parameters of each span that has any, by name or position."""
    told = map(attributes, recorded.spans)
    found = [{key.removeprefix(PARAMETER): each[key] for key in each if key.startswith(PARAMETER)} for each in told]
    return [each for each in found if each]


def _assert_unnamed(shown: Sequence[Any]) -> None:
    """Assert what is shown of :data:`UNNAMED`."""
    note, long_note, digits, pair, nested = shown
    assert note == "for [redacted:pattern]"
    for value, rule in ((long_note, "pattern"), (digits, "card"), (pair, "pair")):
        assert len(value) <= 256
        assert f"[redacted:{rule}]".startswith(value[value.index("[") :])
    assert nested == "{'email': '[redacted:pair]'}"


def _assert_named(shown: dict[str, Any]) -> None:
    assert list(shown) == list(PLANTED)
    assert [shown.pop(key) for key in ("email", "token")] == ["[redacted:key]"] * 2
    _assert_unnamed(list(shown.values()))


@pytest.mark.asyncio
async def test_asyncpg(connection: asyncpg.Connection[Any]) -> None:
    """Positions tell nothing of secrets, but the rules and the user's patterns do, in cursors too."""
    statement = "SELECT " + ", ".join(f"${number}::text" for number in range(1, 6))
    with _redacted({"asyncpg": AsyncpgOptions(parameters=True)}) as recorded:
        await connection.fetchrow(statement, *UNNAMED)
        await (await connection.prepare(statement)).fetch(*UNNAMED)
        async with connection.transaction():
            assert len([row async for row in connection.cursor(statement, *UNNAMED)]) == 1
        found = _parameters(recorded)
    assert len(found) == 3
    for each in found:
        assert list(each) == list("01234")
        _assert_unnamed(list(each.values()))


@pytest.mark.asyncio
async def test_sqlalchemy(postgres_url: str, tmp_path: Path) -> None:
    """Names tell of secrets where the driver has names; what cannot be shown costs no span."""
    with _redacted({"sqlalchemy": SqlalchemyOptions(parameters=True)}) as recorded:
        async with any_engine(url_of("psycopg", postgres_url, tmp_path)) as engine:
            named = text("SELECT " + ", ".join(f"CAST(:{name} AS text)" for name in PLANTED))
            await engine.connected(lambda connection: connection.execute(named, PLANTED))
        async with any_engine(url_of("pysqlite", postgres_url, tmp_path)) as engine:
            some = dict(zip("abcde", UNNAMED, strict=True))
            await engine.connected(lambda connection: connection.execute(text("SELECT :a, :b, :c, :d, :e"), some))
            with pytest.raises(SQLAlchemyError):
                await engine.connected(lambda connection: connection.execute(text("SELECT :a"), {"a": Odd()}))
        named_, unnamed, odd = _parameters(recorded)
    _assert_named(named_)
    _assert_unnamed(list(unnamed.values()))
    assert odd == {"0": "<Odd>"}


@pytest.mark.asyncio
async def test_neo4j(stub: BoltStub, is_async: bool) -> None:
    """Names tell of secrets, and rules and patterns look into the values; what cannot be shown costs no span."""
    with _redacted({"neo4j": Neo4jOptions(parameters=True)}) as recorded:
        async with warm(is_async, stub) as driver:
            session = driver.session()
            await query(session, "RETURN $note", **PLANTED)
            with pytest.raises((ValueError, TypeError)):
                await query(session, "RETURN $odd", odd=Odd())
            await settle(session.close())
        named, odd = _parameters(recorded)
    _assert_named(named)
    assert odd == {"odd": "<Odd>"}


@pytest.mark.asyncio
async def test_redis(client: Any) -> None:
    """A key or a channel that is cut is redacted before, in texts and in names."""
    key, channel = "x" * 50 + TENANT, "x" * 245 + TENANT
    with _redacted({"redis": RedisOptions(keys=True, consumer_spans=True)}) as recorded:
        await settle(client.get(key))
        await settle(client.pipeline().set(key.encode(), 1).get(key).execute())
        pubsub = client.pubsub()
        await settle(pubsub.subscribe(channel))
        await settle(client.publish(channel, "x"))
        while (await settle(pubsub.get_message(timeout=60)))["type"] != "message":
            pass
        await close(pubsub)
        texts = [attributes(span)["db.query.text"] for span in recorded.spans[:2]]
        (received,) = (span for span in recorded.spans if span.name.startswith("receive "))
    shown = "x" * 50 + "[redacted:patt…"
    assert texts == [f"GET {shown}", f"SET {shown} ?; GET {shown}"]
    assert assert_span(received, None)["messaging.destination.name"] == "x" * 245 + "[redacted:p"


@pytest.mark.asyncio
async def test_another_provider(postgres_url: str, tmp_path: Path) -> None:
    """Spans of a provider that redacts nothing are given parameters without secrets."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    patches: Patches = {"sqlalchemy": SqlalchemyOptions(parameters=True)}
    installed = causal_otel.install(
        patches=patches, tracer_provider=provider, redact_keys=["email"], redact_patterns=[PATTERN]
    )
    try:
        async with any_engine(url_of("psycopg", postgres_url, tmp_path), known=False) as engine:
            with untraced():
                await engine.connected()
            named = text("SELECT " + ", ".join(f"CAST(:{name} AS text)" for name in PLANTED))
            await engine.connected(lambda connection: connection.execute(named, PLANTED))
    finally:
        installed.uninstall()
    (span,) = exporter.get_finished_spans()
    told = assert_span(span, None)
    _assert_named({key.removeprefix(PARAMETER): told[key] for key in told if key.startswith(PARAMETER)})
