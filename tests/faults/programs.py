"""Small programs in processes of their own, with nothing of this process's environment that could configure them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence

__all__ = ["environment", "finish", "run", "send_spool", "start"]


def environment(**variables: str) -> dict[str, str]:
    """PATH, ``variables``, and nothing that is here for other tests only.

    On a busy machine any turn of an event loop may be long, and so may sending what is left at the end; programs of
    tests of those say how long.
    """
    always = {
        "PYDANTIC_DISABLE_PLUGINS": "logfire-plugin",
        "TRACING_EXIT_TIMEOUT": "30",
        "TRACING_LOOP_BLOCK_THRESHOLD": "3600",
    }
    return {"PATH": os.environ["PATH"], **always, **variables}


def run(
    code: str, *, seconds: float = 120.0, options: Sequence[str] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run ``code`` to its end.

    Args:
        code: the program.
        seconds: how long it may take.
        options: of the interpreter.
        variables: its environment, beside what :func:`environment` gives.
    """
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def send_spool(spool: str, endpoint: str) -> None:
    """Run a program that sends what is in the directory ``spool`` to a collector, and ends when nothing is left."""
    done = run(
        """
        import time, causal_otel
        installed = causal_otel.install(patches=[])
        while installed.status().export.spooled_bytes:
            time.sleep(0.01)
        """,
        OTLP_ENDPOINT=endpoint,
        TRACING_SPOOL_DIRECTORY=spool,
    )
    assert (done.returncode, done.stderr) == (0, "")


def start(prelude: str, code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start ``code`` after ``prelude``, with those arguments and pipes. End it with :func:`finish`."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(prelude) + textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(program: subprocess.Popen[str], code: int = 0) -> str:
    """What it has printed and was not read, when it has ended with ``code``."""
    try:
        output, complaints = program.communicate(timeout=60)
    finally:
        program.kill()
        program.wait()
    assert program.returncode == code, complaints
    return output
