"""``causal-otel collector``: receives OTLP, keeps it for thirty days, within 5 GB, and serves pages and APIs."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from typing import TYPE_CHECKING

from causal_otel._internal.extras import how_to_install, missing
from causal_otel._internal.posix import lacking_posix
from causal_otel.collector.config import CollectorSettings, add_options
from causal_otel.settings import SettingError
from causal_otel.transports.transport import without_credentials

if TYPE_CHECKING:
    import argparse

__all__ = ["HELP", "configure", "run"]

HELP = "Receive spans, keep them on this machine, and search them in the browser."

_FAILED, _UNUSABLE = 1, 2
_GC_THRESHOLD = 50_000

# Packages of the extra, by the names they are imported by.
_EXTRA = ("anyio", "google.protobuf", "jinja2", "opentelemetry.proto", "python_multipart", "starlette", "uvicorn")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = "Every option has a variable: --data-dir is CAUSAL_OTEL_COLLECTOR_DATA_DIR. An option beats it."
    add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the collector until SIGTERM or Ctrl-C; returns the exit status."""
    if problem := lacking_posix("the collector", "fcntl", "resource") or missing(_EXTRA, "collector"):
        _complain(problem)
        return _UNUSABLE
    from causal_otel.collector.receive.listening import PortInUse
    from causal_otel.collector.server import serve
    from causal_otel.collector.store.writer import StoreError, StoreInUse
    from causal_otel.collector.tokens import TokensError
    from causal_otel.strategies import StrategiesError

    try:
        settings = CollectorSettings.load(vars(arguments))
    except SettingError as error:
        _complain(str(error))
        return _UNUSABLE
    # A page or an answer is made of many small objects that go with it: looking through them again and again as they
    # become more would take a third of the time.
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(serve(settings, lambda addresses: _announce(settings, addresses)))
    except StrategiesError as error:
        _complain(f"{settings.sampling_file}, {error}")
        return _UNUSABLE
    except TokensError as error:
        _complain(f"{settings.token_file}: {error}")
        return _UNUSABLE
    except (PortInUse, StoreInUse, StoreError, OSError) as error:
        _complain(str(error))
        return _FAILED
    return 0


def _announce(settings: CollectorSettings, addresses: dict[str, str]) -> None:
    from causal_otel.collector.forward.forwarder import endpoint_of
    from causal_otel.collector.mcp import endpoint

    grpc = addresses.get("otlp_grpc")
    if grpc is None:
        grpc = "off" if settings.otlp_grpc_port is None else f"off; {how_to_install('grpc')}"
    lines = {
        "Pages and APIs": addresses["pages"],
        "OTLP/HTTP": addresses["otlp_http"],
        "OTLP/gRPC": grpc,
        **({} if endpoint.not_installed() else {"MCP": addresses["pages"] + endpoint.PATH}),
        "Traces are in": settings.data_dir,
        "Kept for": f"{settings.retention} days"
        + (f", within {_size(settings.max_size)}" if settings.max_size else ""),
    }
    if settings.forward:
        lines["Sent on to"] = without_credentials(endpoint_of(settings.forward))
    print("causal-otel collector")
    for name, value in lines.items():
        print(f"  {name + ':':<16}{value}")
    print("Ctrl-C stops it.", flush=True)


def _size(size: int) -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:g} {name}"
    return f"{size} bytes"


def _complain(message: str) -> None:
    print(f"causal-otel collector: {message}", file=sys.stderr)
