"""The names of Redis commands, and what their texts show."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from causal_otel.statements.redis import command, text, text_with_keys


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


def _by_the_server(first: int, last: int, step: int, number: int) -> list[int]:
    """Which of ``number`` arguments are keys by what ``COMMAND INFO`` says, which counts from the command itself."""
    return [at - 1 for at in range(first, (last if last >= 0 else number + 1 + last) + 1, step)] if first else []


def test_keys_are_those_of_the_server_s_table(redis_url: str) -> None:
    """Whatever command has keys in places that do not depend on its arguments, a text shows these and no other."""
    number = 6
    arguments = [f"a{at}" for at in range(number)]
    wrong = {}
    with redis.Redis.from_url(redis_url, protocol=2, decode_responses=True) as client:
        for name, info in client.command().items():
            places = info["first_key_pos"], info["last_key_pos"], info["step_count"]
            if "movablekeys" in info["flags"] or name.upper() in ("MIGRATE", "PFDEBUG", "SPUBLISH"):
                continue
            if "subscribe" in name:
                continue  # channels, which the server counts among keys
            expected = _by_the_server(*places, number)
            shown = text_with_keys([name.upper(), *arguments]).split()[1:]
            found = [at for at, word in enumerate(shown) if word != "?"]
            if found != expected:
                wrong[name] = found, expected
    assert wrong == {}


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (("EVAL", "return 1", 2, "k1", "k2", "v"), "EVAL ? ? k1 k2 ?"),
        (("EVALSHA", "sha", "x", "k1"), "EVALSHA ? ? ?"),
        (("FCALL", "f", -1, "k1"), "FCALL ? ? ?"),
        (("ZUNIONSTORE", "to", 2, "k1", "k2", "WEIGHTS", 1, 2), "ZUNIONSTORE ? ? k1 k2 ? ? ?"),
        (("LMPOP", b"1", "k1", "LEFT"), "LMPOP ? k1 ?"),
        (("MSETEX", 2, "k1", "v", "k2", "v", "EX", 3), "MSETEX ? k1 ? k2 ? ? ?"),
        (("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s1", "s2", ">", ">"), "XREADGROUP ? ? ? ? s1 s2 ? ?"),
        (("XREAD", "COUNT", 1), "XREAD ? ?"),
        (("BITOP", "AND", "to", "k1"), "BITOP ? to k1"),
        (("OBJECT", "ENCODING", "k1"), "OBJECT ENCODING k1"),
        (("CLIENT SETNAME", "secret"), "CLIENT SETNAME ?"),
        (("AUTH", "user", "secret"), "AUTH ? ?"),
        (("JSON.SET", "k1", "$", "1"), "JSON.SET ? ? ?"),
        (("secret", "secret"), "OTHER"),
        (("GET", ["k1"]), "GET ?"),
        (("GET", 7), "GET 7"),
        (("DEL", *range(25)), "DEL " + " ".join(map(str, range(20))) + " ..."),
    ],
)
def test_only_keys_are_shown(args: tuple[Any, ...], shown: str) -> None:
    """A text with keys has ``?`` for everything that is not certain to be one, and is as bounded as any."""
    assert text_with_keys(args) == shown
