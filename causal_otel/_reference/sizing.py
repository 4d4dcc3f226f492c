"""The sizing table: how many gigabytes so many spans a second are, from what ``benchmarks`` has measured of a span."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path

__all__ = ["reference"]

_MEASURED = Path(__file__).parents[2] / "benchmarks" / "collector" / "bytes_a_span.json"
_RATES = (1, 10, 50, 100, 500, 1000)
_DAYS = (7, 30, 90)
_BESIDE_DAYS = 30
_SPANS_A_DAY = 86_400
_WRITTEN_TO = 2
"""Days that are not closed: today, and the one before for an hour."""


def _ours(rate: int, days: int, measured: Mapping[str, float]) -> float:
    """Bytes in our store: the days that are kept, and today."""
    closed = days + 1 - _WRITTEN_TO
    return rate * _SPANS_A_DAY * (closed * measured["closed"] + _WRITTEN_TO * measured["written_to"])


def _gigabytes(size: float) -> str:
    gigabytes = size / 1e9
    return f"{gigabytes:,.0f}" if gigabytes >= 10 else f"{gigabytes:.1f}"


def reference() -> str:
    """The sentence about what was measured, and the table in GB."""
    measured = json.loads(_MEASURED.read_text(encoding="utf-8"))
    columns = "".join(f" ours, {days} days |" for days in _DAYS)
    sentence = (
        "Measured: {spans:,.0f} spans of the demo's kinds, {attributes} attributes each and {spans_a_trace} in a trace."
        " A span takes {written_to:.0f} bytes in a day that is written to, {closed:.0f} in a closed one, and"
        " {badger:.0f} in the Badger of a true Jaeger 2. As JSON in Jaeger's model it is {document:,.0f} bytes."
    )
    lines = [
        textwrap.fill(sentence.format(**measured), 120),
        "",
        f"| spans a second |{columns} Badger, {_BESIDE_DAYS} days | Elasticsearch, {_BESIDE_DAYS} days |",
        "|---:|" + "---:|" * (len(_DAYS) + 2),
    ]
    for rate in _RATES:
        spans = rate * _SPANS_A_DAY * _BESIDE_DAYS
        sizes = [
            *(_ours(rate, days, measured) for days in _DAYS),
            spans * measured["badger"],
            spans * measured["document"],
        ]
        lines.append(f"| {rate:,} | " + " | ".join(map(_gigabytes, sizes)) + " |")
    return "\n".join(lines) + "\n"
