"""A true Apache Kafka on loopback, for tests only: one broker, which is its own controller (KRaft).

Its jars come from Maven Central: see ``maven.py``. ``python -m tests.services.kafka`` fetches them alone. It needs Java
17 or later. This is the last version that the oldest supported aiokafka can talk to as well as the newest one.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from causal_otel.testing.process import LOOPBACK, Process, ServerError, claim_port, java_environment, process, workdir
from tests.services.maven import Jars

__all__ = ["JARS", "kafka"]

JARS = Jars("Kafka", "org.apache.kafka", "kafka_2.13", "3.9.1", 17)
_CLUSTER = "AAAAAAAAAAAAAAAAAAAAAQ"  # any 16 bytes in base64
# ApiVersions, version 0, of a client without a name: a broker that is ready answers it.
_API_VERSIONS = bytes.fromhex("0000000a 0012 0000 00000001 ffff")


@contextlib.contextmanager
def kafka() -> Iterator[str]:
    """A broker, fetched the first time; yields its address. Its data goes when the block is left.

    Raises:
        ServerError: It cannot be fetched or started.
    """
    java = JARS.java()
    jars = JARS.fetch()
    port, controller = (claim_port(None, JARS.name) for _ in range(2))
    with workdir(JARS.name) as home:
        settings = home / "server.properties"
        settings.write_text("".join(f"{key}={value}\n" for key, value in _settings(home, port, controller).items()))
        environment = {**java_environment(), "CLASSPATH": f"{jars}/*"}
        command: list[str | Path] = [java, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command += ["-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError", "-Djava.net.preferIPv4Stack=true"]
        prepare = [*command, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", settings]
        with process(prepare, name=JARS.name, log=home / "format.log", cwd=home, env=environment) as preparing:
            status = preparing.wait(timeout=60.0)
            if status:
                raise ServerError(f"Kafka's storage could not be prepared: status {status}.", preparing.output())

        def ready(_: Process) -> bool:
            return _answers(port)

        command += ["kafka.Kafka", settings]
        with process(
            command, name=JARS.name, ready=ready, log=home / "kafka.log", cwd=home, env=environment, start_timeout=120.0
        ):
            yield f"{LOOPBACK}:{port}"


def _settings(home: Path, port: int, controller: int) -> dict[str, object]:
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": home / "data",
        "num.partitions": 1,
        "num.network.threads": 1,
        "num.io.threads": 2,
        # There is one broker, so nothing can be kept three times.
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,  # of three seconds else
        "log.cleaner.enable": "false",
    }


def _answers(port: int) -> bool:
    with socket.create_connection((LOOPBACK, port), 1) as connection:
        connection.sendall(_API_VERSIONS)
        return len(connection.recv(4)) == 4


if __name__ == "__main__":
    print(JARS.fetch())
