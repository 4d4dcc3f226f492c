"""The true programs of tests/interop: ``python -m tests.interop.programs`` builds them outside the checkout, once.

Jaeger, the OpenTelemetry Collector, Prometheus and the reference implementation of Compose come from their Go modules:
go.mod names the versions, go.sum what each file of them must be. What Debian has is installed from there. Only `make
interop` builds: that takes longer than a run of CI may (docs/explanation/decisions/0059).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["BUILT", "INSTALLED", "Built", "build", "find", "main", "missing"]


class Built(NamedTuple):
    """A program that is built with Go.

    Attributes:
        module: the folder of its go.mod.
        package: the one with its ``main``, a folder of ours if it begins with a dot.
        tags: for the build.
    """

    module: str
    package: str
    tags: str = ""


BUILT = {
    "jaeger": Built("programs", "github.com/jaegertracing/jaeger/cmd/jaeger"),
    "otelcol": Built("programs", "./otelcol"),
    "otelcol-extensions": Built("programs/extensions", "."),
    # Without the clouds' ways to find targets, which are most of it.
    "prometheus": Built("programs/prometheus", "github.com/prometheus/prometheus/cmd/prometheus", "remove_all_sd"),
    "compose": Built("programs/compose", "."),
}
INSTALLED = {"promtool": "prometheus", "openssl": "openssl", "systemd-analyze": "systemd"}
"""What Debian has: the program, and its package."""

_HERE = Path(__file__).parent
_BUILD_SECONDS = 3600
"""For each program: some minutes on two idle cores, half an hour beside others."""


def find(name: str) -> Path | None:
    """Where a program is; None: nowhere."""
    if name in BUILT:
        path = _path(name)
        return path if path.exists() else None
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    return None if found is None else Path(found)


def missing(name: str) -> str:
    """Why a program is not there, and what brings it."""
    if name in BUILT:
        return f"no test against the true {name}: it is not built here, which needs Go and takes minutes: make interop"
    return f"no test against the true {name}: it is not installed (Debian: apt-get install {INSTALLED[name]})"


def build(name: str) -> str | None:
    """Build a program that is not there yet; returns what is wrong, or None."""
    if find(name) is not None:
        return None
    go = shutil.which("go")
    if go is None:
        return "there is no Go"
    built = BUILT[name]
    path = _path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    # As idle work, one package at a time: this takes minutes, and others want the machine too.
    command = ["nice", "-n", "10", go, "build", "-p=1", "-buildvcs=false", "-ldflags=-s -w", f"-tags={built.tags}"]
    try:
        subprocess.run(
            [*command, "-o", unfinished, built.package],
            cwd=_HERE / built.module,
            env={**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"},
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=_BUILD_SECONDS,
        )
        unfinished.rename(path)  # whole or not at all
    except subprocess.CalledProcessError as error:
        return f"go ended with status {error.returncode}"
    except subprocess.TimeoutExpired:
        return f"it took longer than {_BUILD_SECONDS // 60} minutes; what is compiled is cached for the next time"
    return None


def _path(name: str) -> Path:
    """Where the program is, or will be. One of other sources is another program."""
    built = BUILT[name]
    folder = _HERE / built.module
    digest = hashlib.sha256(built.tags.encode())
    ours = sorted((folder / built.package).glob("*.go")) if built.package.startswith(".") else []
    for source in (folder / "go.mod", folder / "go.sum", *ours):
        digest.update(source.read_bytes())
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "causal-otel-tests" / "interop" / f"{name}-{digest.hexdigest()[:12]}"


def main(arguments: list[str]) -> int:
    """Build what is missing, and say what is not there; with ``--look`` build nothing."""
    left = 0
    for name in (*BUILT, *INSTALLED):
        problem = None
        if find(name) is None and name in BUILT and "--look" not in arguments:
            print(f"building {name}, once, which takes minutes", flush=True)
            problem = build(name)
        if find(name) is None:
            left += 1
            print(f"{name.upper()} IS NOT HERE{f' ({problem})' if problem else ''}: {missing(name)}", flush=True)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
