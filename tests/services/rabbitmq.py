"""RabbitMQ as a child process on loopback: Debian's, taken out of its packages by ``make test-long``.

It is started without the packages' own service, with an Erlang port mapper (epmd), directories and a configuration of
its own, and as whoever runs the tests.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from causal_otel.testing.process import LOOPBACK, Process, claim_port, process, workdir

__all__ = ["missing", "rabbitmq"]

_ROOTS = (Path(sys.prefix) / "rabbitmq", Path("/"))
"""Where the packages are: unpacked beside this Python, or installed."""

_SERVER = "usr/lib/rabbitmq/bin/rabbitmq-server"
_GREETING = b"AMQP\0\0\x09\1"
"""How a client of AMQP 0-9-1 begins."""


def _root() -> Path | None:
    return next((root for root in _ROOTS if (root / _SERVER).exists()), None)


def missing() -> str:
    """Why it cannot be started, in a sentence; empty: it can."""
    return "" if _root() else "RabbitMQ is not here (make test-long unpacks Debian's rabbitmq-server and erlang)"


@contextlib.contextmanager
def rabbitmq() -> Iterator[str]:
    """A RabbitMQ with a virtual host and a guest; yields its URL.

    Raises:
        ServerError: It cannot be started.
    """
    root = _root()
    assert root is not None, missing()
    name = "RabbitMQ"
    port, between_nodes, mapper = (claim_port(None, name) for _ in range(3))
    with workdir(name) as work:
        # Debian's own script has the place where it would be installed in it.
        erlang = root / "usr/lib/erlang"
        (runtime,) = erlang.glob("erts-*")
        (work / "erl").write_text(
            f'#!/bin/sh\nexport ROOTDIR="{erlang}" BINDIR="{runtime}/bin" EMU=beam PROGNAME=erl\n'
            'exec "$BINDIR/erlexec" "$@"\n'
        )
        (work / "erl").chmod(0o755)
        (work / "rabbitmq.conf").write_text(f"listeners.tcp.1 = {LOOPBACK}:{port}\n")
        (work / "environment").touch()
        (work / "plugins").write_text("[].\n")
        environment = {
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(mapper),
            "HOME": str(work),
            "LC_ALL": "C.UTF-8",
            "PATH": os.pathsep.join([str(work), str(erlang / "bin"), os.environ.get("PATH", os.defpath)]),
            "RABBITMQ_CONFIG_FILE": str(work / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(work / "environment"),
            "RABBITMQ_DIST_PORT": str(between_nodes),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(work / "plugins"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(work / "log"),
            "RABBITMQ_MNESIA_BASE": str(work / "mnesia"),
            "RABBITMQ_NODENAME": f"tests{port}@localhost",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

        def ready(_: Process) -> bool:
            with socket.create_connection((LOOPBACK, port), 5) as connection:
                connection.sendall(_GREETING)
                return connection.recv(1) == b"\1"  # the method frame that begins a connection

        with (
            process([runtime / "bin/epmd"], name="epmd", log=work / "epmd.log", cwd=work, env=environment),
            process(
                [root / _SERVER],
                name=name,
                ready=ready,
                log=work / "server.log",
                cwd=work,
                env=environment,
                stop_timeout=30.0,
            ),
        ):
            yield f"amqp://guest:guest@{LOOPBACK}:{port}//"
