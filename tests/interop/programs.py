"""The true programs of tests/interop: ``python -m tests.interop.programs`` builds them outside the checkout, once.

Jaeger, the OpenTelemetry Collector and the reference implementation of Compose come from their Go modules: go.mod names
the versions, go.sum what each file of them must be. Prometheus and promtool are Debian's package.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["BUILT", "build", "find", "main", "missing"]

BUILT = {
    "jaeger": ("programs", "github.com/jaegertracing/jaeger/cmd/jaeger"),
    "otelcol": ("programs", "./otelcol"),
    "compose": ("programs/compose", "."),
}
"""What is built with Go: the program's name, the folder of its module, and the package with its ``main``."""

_HERE = Path(__file__).parent
_INSTALLED = {"prometheus": "prometheus", "promtool": "prometheus"}  # program and Debian package
_BUILD_SECONDS = 1200
"""For each program, on two cores: it took minutes on idle ones. CI ends after 90 minutes."""


def find(name: str) -> Path | None:
    """Where a program is; None: nowhere."""
    if name in BUILT:
        path = _path(name)
        return path if path.exists() else None
    found = shutil.which(name)
    return None if found is None else Path(found)


def missing(name: str) -> str:
    """Why a program is not there, and what brings it."""
    if name in BUILT:
        return f"against the true {name}: it is not built, which needs Go: make interop"
    return f"against the true {name}: it is not installed (Debian: apt-get install {_INSTALLED[name]})"


def build(name: str) -> str | None:
    """Build a program that is not there yet; returns what is wrong, or None."""
    if find(name) is not None:
        return None
    go = shutil.which("go")
    if go is None:
        return "there is no Go"
    module, package = BUILT[name]
    path = _path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    # As idle work, one package at a time: this takes minutes, and others want the machine too.
    command = ["nice", "-n", "10", go, "build", "-p=1", "-buildvcs=false", "-ldflags=-s -w"]
    try:
        subprocess.run(
            [*command, "-o", unfinished, package],
            cwd=_HERE / module,
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
    folder = _HERE / BUILT[name][0]
    digest = hashlib.sha256()
    for source in (folder / "go.mod", folder / "go.sum", *sorted(folder.glob("**/main.go"))):
        digest.update(source.read_bytes())
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "causal-otel-tests" / "interop" / f"{name}-{digest.hexdigest()[:12]}"


def main() -> int:
    """Build what is missing, and say what there is."""
    problems = 0
    for name in BUILT:
        if find(name) is None:
            print(f"building {name}, once, which takes minutes", flush=True)
        if (problem := build(name)) is not None:
            problems += 1
            print(f"{name.upper()} COULD NOT BE BUILT: {problem}. ITS TESTS WILL BE SKIPPED.", flush=True)
    for name in _INSTALLED:
        if find(name) is None:
            problems += 1
            print(f"{name.upper()} IS NOT THERE. ITS TESTS WILL BE SKIPPED. {missing(name)}", flush=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
