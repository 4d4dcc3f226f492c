"""Panels, and the expressions in them.

Span metrics (``traces_span_metrics_*``) are counted from spans, by our collector or by the OpenTelemetry Collector.
What the services measure themselves has the names of OpenTelemetry's conventions as Prometheus writes them, whether the
Collector's exporter or the OTLP receiver of Prometheus has made them so: ``http.server.request.duration`` in seconds is
``http_server_request_duration_seconds``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["SPANS", "Board", "Durations", "Graph", "measured", "operations", "quantile", "rate", "share_of_errors"]


@dataclass(frozen=True)
class Graph:
    """A panel: its title, what it shows, in which unit, and a sentence for who wonders.

    Args:
        title: of the panel.
        targets: legend by expression.
        unit: one of Grafana's units.
        about: the panel's description.
        stat: the last value in large figures, instead of a graph.
        width: of the 24 columns.
    """

    title: str
    targets: dict[str, str]
    unit: str = "short"
    about: str = ""
    stat: bool = False
    width: int = 12


@dataclass(frozen=True)
class Board:
    """A dashboard.

    Args:
        uid: under which Grafana and links know it.
        title: of the dashboard.
        rows: panels by the row's title.
        variables: the query of values by the variable's name.
    """

    uid: str
    title: str
    rows: dict[str, list[Graph]]
    variables: dict[str, str] = field(default_factory=dict)


# -- expressions ------------------------------------------------------------------------------------------------------


def rate(metric: str, labels: str = "", by: str = "") -> str:
    """How much a counter grows in a second, summed by labels."""
    inner = f"rate({metric}{{{labels}}}[$__rate_interval])" if labels else f"rate({metric}[$__rate_interval])"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


class Durations(NamedTuple):
    """A histogram: what counts, what it has in seconds, and by which label those are known that failed."""

    calls: str
    seconds: str
    failed: str


SPANS = Durations(
    "traces_span_metrics_calls_total", "traces_span_metrics_duration_seconds", 'status_code="STATUS_CODE_ERROR"'
)


def measured(name: str) -> Durations:
    """A histogram of the services' own."""
    return Durations(f"{name}_count", name, 'error_type!=""')


def quantile(share: float, labels: str, by: str, of: Durations = SPANS) -> str:
    """How long as large a share takes at most, by labels."""
    return f"histogram_quantile({share}, {rate(f'{of.seconds}_bucket', labels, f'le, {by}')})"


def share_of_errors(labels: str, by: str, of: Durations = SPANS) -> str:
    """How much of all fails, by labels."""
    failed = rate(of.calls, ", ".join(filter(None, (labels, of.failed))), by)
    every = rate(of.calls, labels, by)
    return f"({failed} or 0 * {every}) / {every}"


def operations(labels: str, by: str, legend: str, of: Durations = SPANS) -> list[Graph]:
    """Rate, errors and duration."""
    return [
        Graph("Rate", {legend: rate(of.calls, labels, by)}, "ops"),
        Graph("Share that fails", {legend: share_of_errors(labels, by, of)}, "percentunit"),
        Graph("Median duration", {legend: quantile(0.5, labels, by, of)}, "s"),
        Graph("95th percentile of the duration", {legend: quantile(0.95, labels, by, of)}, "s"),
    ]
