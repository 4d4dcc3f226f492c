"""A true Neo4j Community server on loopback, for tests only.

    with neo4j() as server:
        driver = AsyncGraphDatabase.driver(server.url, auth=(server.user, server.password))

Its jars come from Maven Central: see ``maven.py``. ``python -m tests.services.neo4j_server`` fetches them alone. Neo4j
Community is GPL-3.0-or-later: it runs as a separate process and is never part of what we distribute. It needs Java 17
or later, and 21 or later for versions from 2025 on.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

from causal_otel.testing.process import LOOPBACK, Process, ServerError, claim_port, java_environment, process, workdir
from causal_otel.testing.servers import BoltServer
from tests.services.maven import Jars

__all__ = ["NEWEST", "VERSION", "fetch", "missing", "neo4j"]

VERSION = "5.26.30"
"""The one that tests talk to: with long-term support."""

NEWEST = "2026.08.1"
"""The one that ``make test-long`` tries as well."""

# Bolt's magic number and the versions we speak: 5.0 to 5.8, or 4.4.
_HANDSHAKE = bytes.fromhex("6060b017 00080805 00000404 00000000 00000000")


def _server(version: str) -> Jars:
    return Jars("Neo4j", "org.neo4j", "neo4j", version, 17 if version.startswith("5.") else 21)


def missing(version: str = VERSION) -> str | None:
    """What this machine lacks to run a version of Neo4j, as half a sentence; None: nothing."""
    return _server(version).missing()


def fetch(version: str = VERSION) -> Path:
    """The directory of the jars of a version, which are fetched unless they are there.

    Raises:
        ServerError: They cannot be fetched.
    """
    return _server(version).fetch()


@contextlib.contextmanager
def neo4j(port: int | None = None, version: str = VERSION) -> Iterator[BoltServer]:
    """Neo4j Community, fetched the first time; its data goes when the block is left.

    Raises:
        ServerError: It cannot be fetched or started.
    """
    name = "Neo4j"
    java = _server(version).java()
    jars = fetch(version)
    number = claim_port(port, name)
    password = secrets.token_hex(12)
    with workdir(name) as home:
        conf = home / "conf"
        conf.mkdir()
        settings = conf / "neo4j.conf"
        settings.write_text("".join(f"{key}={value}\n" for key, value in _settings(number).items()))
        settings.chmod(0o600)  # Neo4j may refuse a configuration that others can read
        env = {key: value for key, value in java_environment().items() if not key.startswith("NEO4J_")}
        env |= {"NEO4J_HOME": str(home), "NEO4J_CONF": str(conf), "CLASSPATH": f"{jars}/*"}
        _set_password(java, password, home, env)
        command: list[str | Path] = [
            java,
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
            "-XX:+ExitOnOutOfMemoryError",
            "-Dlog4j2.disable.jmx=true",
            "-Djava.net.preferIPv4Stack=true",
            "--add-opens=java.base/java.nio=ALL-UNNAMED",
            "--add-opens=java.base/java.io=ALL-UNNAMED",
            "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
            _entry_class(jars, version),
            f"--home-dir={home}",
            f"--config-dir={conf}",
            "--console-mode",
        ]

        def ready(server: Process) -> bool:
            return "INFO  Started." in server.output() and _agrees_on_bolt(number)

        with process(
            command, name=name, ready=ready, log=home / "console.log", cwd=home, env=env, start_timeout=120.0
        ) as server:
            yield BoltServer(
                url=f"bolt://{LOOPBACK}:{number}", user="neo4j", password=password, name=name, pid=server.pid
            )


def _settings(port: int) -> dict[str, str]:
    return {
        "server.default_listen_address": LOOPBACK,
        "server.default_advertised_address": LOOPBACK,
        "server.bolt.listen_address": f"{LOOPBACK}:{port}",
        "server.bolt.advertised_address": f"{LOOPBACK}:{port}",
        "server.bolt.tls_level": "DISABLED",
        "server.http.enabled": "false",
        "server.https.enabled": "false",
        "server.memory.pagecache.size": "64m",
        "dbms.usage_report.enabled": "false",
        "server.bolt.telemetry.enabled": "false",
        "server.config.strict_validation.enabled": "true",
        # Without these, stopping takes 10 s of waiting for nothing.
        "internal.dbms.bolt.netty_server_shutdown_quiet_period": "0",
        "internal.dbms.bolt.netty_server_shutdown_timeout": "2s",
        "db.shutdown_transaction_end_timeout": "0s",
        # Without this, the two empty databases take 512 MiB of disk.
        "db.tx_log.preallocate": "false",
    }


def _set_password(java: str, password: str, home: Path, env: dict[str, str]) -> None:
    command = [java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "org.neo4j.cli.AdminTool"]
    command += ["dbms", "set-initial-password", password]
    with process(command, name="neo4j-admin", log=home / "admin.log", cwd=home, env=env) as admin:
        status = admin.wait(timeout=60.0)
        if status:
            raise ServerError(f"Neo4j's password could not be set: status {status}.", admin.output())


def _entry_class(jars: Path, version: str) -> str:
    with zipfile.ZipFile(jars / f"neo4j-{version}.jar") as jar:
        return jar.read("META-INF/services/org.neo4j.server.startup.EntryPoint").decode().strip()


def _agrees_on_bolt(port: int) -> bool:
    with socket.create_connection((LOOPBACK, port), 1) as connection, connection.makefile("rb") as stream:
        connection.sendall(_HANDSHAKE)
        version = stream.read(4)
        return len(version) == 4 and version != bytes(4)


if __name__ == "__main__":
    print(fetch())
