"""``causal-otel export``: stored traces as lines of OTLP JSON."""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from causal_otel.cli.stored import CommandError, add_data_dir, add_times, carry_out, stored, times

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

__all__ = ["HELP", "configure", "run"]

HELP = "Write stored traces to a file, as lines of OTLP JSON."

_LINE_BYTES = 4 * 1024 * 1024  # in binary; as JSON it is a few times that, which `import` and collectors take


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "Traces with a span that starts in the time are written whole, without their log records. "
        "`causal-otel import` reads them."
    )
    parser.add_argument("file", metavar="FILE", help="where to write; - is stdout; a name that ends in .gz: compressed")
    parser.add_argument("--service", metavar="NAME", help="only traces that this service has spans in")
    add_times(parser, lookback=None)
    parser.add_argument("--gzip", action="store_true", help="compress, whatever the name")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Export; returns the exit status."""
    return carry_out("export", _export, arguments)


def _export(arguments: argparse.Namespace) -> int:
    from causal_otel.cli.otlp_lines import in_parts
    from causal_otel.collector.receive import otlp_json

    start, end = times(arguments, lookback=None)
    traces = spans = 0
    with stored(arguments) as reader, _output(arguments) as output:
        for trace_id in reader.trace_ids(start, end):
            trace = reader.trace(trace_id)
            if trace is None or not _has(trace, arguments.service):  # its day may have been removed just now
                continue
            for part in in_parts(trace, _LINE_BYTES):
                output.write(otlp_json.dumps(part) + b"\n")
            traces += 1
            spans += sum(len(scoped.spans) for group in trace.resource_spans for scoped in group.scope_spans)
    print(f"{traces} traces with {spans} spans were written.", file=sys.stderr)
    return 0


def _has(trace: TracesData, service: str | None) -> bool:
    from causal_otel.collector.attributes import service_name

    return service is None or any(
        service_name(group.resource) == service for group in trace.resource_spans if group.scope_spans
    )


@contextmanager
def _output(arguments: argparse.Namespace) -> Iterator[BinaryIO]:
    """Where to write. A file appears once it is complete, readable by its owner only, since traces tell much."""
    compressed = arguments.gzip or arguments.file.endswith(".gz")
    if arguments.file == "-":
        with _compressing(sys.stdout.buffer, compressed) as stream:
            yield stream
        sys.stdout.buffer.flush()
        return
    path = Path(arguments.file)
    if path.exists() and not arguments.overwrite:
        raise CommandError(f"{path} is there already: give another name, or --overwrite")
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            with _compressing(cast("BinaryIO", file), compressed) as stream:
                yield stream
            file.flush()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


@contextmanager
def _compressing(stream: BinaryIO, compressed: bool) -> Iterator[BinaryIO]:
    if not compressed:
        yield stream
        return
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=6, mtime=0) as packed:
        yield cast("BinaryIO", packed)
