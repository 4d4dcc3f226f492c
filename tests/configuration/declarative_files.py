"""Files of OpenTelemetry's configuration, and what is read from them, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from causal_otel.configuration.declarative import read_declarative
from causal_otel.configuration.source import Source

__all__ = ["OTLP", "SPANS", "of_traces", "read"]

SPANS = "tracer_provider.processors[0].batch.exporter.otlp_http"
"""The path of the exporter in a file with one processor of spans."""
OTLP: dict[str, Any] = {"batch": {"exporter": {"otlp_http": {}}}}
"""That processor."""


def read(directory: Path, text: str, name: str = "otel.yaml") -> Source:
    """What a file of that text says."""
    path = directory / name
    path.write_text(text)
    return read_declarative(str(path))


def of_traces(processors: object = None, **provider: object) -> str:
    """A file with these processors of spans, and more of its provider."""
    content = {"processors": [OTLP] if processors is None else processors, **provider}
    return yaml.safe_dump({"file_format": "1.0", "tracer_provider": content})
