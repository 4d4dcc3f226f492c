"""The names of Redis commands, and what their texts show."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from causal_otel.statements.redis import command, text


@pytest.mark.parametrize(
    ("args", "name", "arguments"),
    [
        (("GET", "k"), "GET", 1),
        (("get", "k"), "GET", 1),
        ((b"GET", "k"), "GET", 1),
        (("GET k",), "GET", 0),
        (("AUTH s3cr3t",), "AUTH", 0),
        (("CLIENT LIST",), "CLIENT LIST", 0),
        (("client", b"list", "TYPE", "normal"), "CLIENT LIST", 2),
        (("CONFIG GET", "maxmemory"), "CONFIG GET", 1),
        (("CONFIG", "s3cr3t"), "CONFIG", 1),
        (("CONFIG s3cr3t x",), "CONFIG", 0),
        (("CONFIG", 7), "CONFIG", 1),
        (("FT.SEARCH", "index", "query"), "FT.SEARCH", 2),
        (("s3cr3t", "k"), "OTHER", 2),
        (("FT.s3cr3t", "k"), "OTHER", 2),
        (("S" * 1000,), "OTHER", 1),
        (("",), "OTHER", 1),
        ((b"\xff\xfe",), "OTHER", 1),
        ((None,), "OTHER", 1),
    ],
)
def test_names_are_known_commands(args: tuple[Any, ...], name: str, arguments: int) -> None:
    """Whatever is passed as a command, the name is one that Redis documents, in capitals, or OTHER."""
    assert command(args) == (name, arguments)


def test_every_command_of_the_server_is_known(redis_url: str) -> None:
    """No command of the server that the tests run against goes by the name of OTHER."""
    with redis.Redis.from_url(redis_url) as client:
        names = [name.decode().upper().split("|") for name in client.execute_command("COMMAND LIST")]
    assert len(names) > 200
    assert [name for name in names if command(name)[0] != " ".join(name)] == []


def test_a_text_is_bounded() -> None:
    """A text shows twenty arguments and no more."""
    assert text("DEL", 100_000) == "DEL" + " ?" * 20 + " ..."
