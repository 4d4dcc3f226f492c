"""Write the Grafana dashboards: ``python deploy/grafana/generate.py``.

They come from this table of panels by Grafana's own library, so what is committed in ``dashboards/`` is of Grafana's
schema. tests/deploy checks that it is fresh, and tests/interop that each expression returns data on a true Prometheus.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, VisibilityMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

__all__ = ["DASHBOARDS", "FOLDER", "Board", "Graph", "generated", "main"]

FOLDER = Path(__file__).parent / "dashboards"

_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_CALLS = "traces_span_metrics_calls_total"
_SECONDS = "traces_span_metrics_duration_seconds"


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


def _rate(metric: str, labels: str = "", by: str = "") -> str:
    """How much a counter grows in a second, summed by labels."""
    inner = f"rate({metric}{{{labels}}}[$__rate_interval])" if labels else f"rate({metric}[$__rate_interval])"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def _quantile(share: float, labels: str, by: str) -> str:
    return f"histogram_quantile({share}, {_rate(f'{_SECONDS}_bucket', labels, f'le, {by}')})"


def _share_of_errors(labels: str, by: str) -> str:
    failed = _rate(_CALLS, f'{labels}, status_code="STATUS_CODE_ERROR"', by)
    every = _rate(_CALLS, labels, by)
    return f"({failed} or 0 * {every}) / {every}"


def _operations(labels: str, by: str, legend: str) -> list[Graph]:
    """Rate, errors and duration of spans."""
    return [
        Graph("Rate", {legend: _rate(_CALLS, labels, by)}, "ops"),
        Graph("Share that fails", {legend: _share_of_errors(labels, by)}, "percentunit"),
        Graph("Median duration", {legend: _quantile(0.5, labels, by)}, "s"),
        Graph("95th percentile of the duration", {legend: _quantile(0.95, labels, by)}, "s"),
    ]


_SERVED = 'service_name=~"$service", span_kind=~"SPAN_KIND_(SERVER|CONSUMER)"'
_REQUESTS = 'service_name=~"$service", span_kind="SPAN_KIND_SERVER"'
_QUERIES = 'service_name=~"$service", span_kind="SPAN_KIND_CLIENT", system=~"$system"'
_TASKS = 'service_name=~"$service", span_kind="SPAN_KIND_CONSUMER"'
_SENT = 'service_name=~"$service", span_kind="SPAN_KIND_PRODUCER"'
_SERVICES = {"service": f"label_values({_CALLS}, service_name)"}
_SYSTEM = {"system": f'label_values({_CALLS}{{span_kind="SPAN_KIND_CLIENT", system!=""}}, system)'}
_COLLECTOR = 'instance=~"$collector"'


# -- dashboards -------------------------------------------------------------------------------------------------------

DASHBOARDS = [
    Board(
        "causal-services",
        "Services",
        {
            "All requests and tasks of a service": _operations(_SERVED, "service_name", "{{service_name}}"),
            "Requests by operation": [
                *_operations(_REQUESTS, "service_name, span_name", "{{service_name}} {{span_name}}"),
                Graph(
                    "99th percentile of the duration",
                    {"{{service_name}} {{span_name}}": _quantile(0.99, _REQUESTS, "service_name, span_name")},
                    "s",
                ),
                Graph(
                    "Time spent",
                    {"{{service_name}} {{span_name}}": _rate(f"{_SECONDS}_sum", _REQUESTS, "service_name, span_name")},
                    "s",
                    "Seconds of work in a second: where to look first, be it slow or frequent.",
                ),
            ],
        },
        _SERVICES,
    ),
    Board(
        "causal-databases",
        "Databases",
        {
            "By database": _operations(_QUERIES, "service_name, system", "{{service_name}} {{system}}"),
            "By operation": [
                *_operations(_QUERIES, "system, span_name", "{{system}} {{span_name}}"),
                Graph(
                    "Time spent",
                    {"{{system}} {{span_name}}": _rate(f"{_SECONDS}_sum", _QUERIES, "system, span_name")},
                    "s",
                    "Seconds of waiting in a second, the driver's and the pool's share included.",
                ),
            ],
        },
        {**_SERVICES, **_SYSTEM},
    ),
    Board(
        "causal-queue",
        "Queue",
        {
            "Sent and processed": [
                Graph(
                    "Messages",
                    {"sent by {{service_name}}": _rate(_CALLS, _SENT, "service_name")},
                    "ops",
                    "If it stays above what is processed, the queue grows.",
                ),
                Graph("Tasks", {"processed by {{service_name}}": _rate(_CALLS, _TASKS, "service_name")}, "ops"),
            ],
            "Tasks": _operations(_TASKS, "service_name, span_name", "{{service_name}} {{span_name}}"),
        },
        _SERVICES,
    ),
    Board(
        "causal-tracing",
        "Tracing",
        {
            "Our collector": [
                Graph("Ready", {"{{instance}}": f"causal_collector_ready{{{_COLLECTOR}}}"}, stat=True, width=4),
                Graph("Days kept", {"{{instance}}": f"causal_store_days{{{_COLLECTOR}}}"}, stat=True, width=4),
                Graph(
                    "Oldest day",
                    {"{{instance}}": f"causal_store_oldest_age_seconds{{{_COLLECTOR}}}"},
                    "s",
                    stat=True,
                    width=4,
                ),
                Graph(
                    "Lost of the retention",
                    {"{{instance}}": f"causal_store_retention_lost_seconds{{{_COLLECTOR}}}"},
                    "s",
                    "What the limit of the size has cost.",
                    stat=True,
                    width=4,
                ),
                Graph("Spans kept", {"{{instance}}": f"causal_store_spans{{{_COLLECTOR}}}"}, stat=True, width=4),
                Graph("Traces kept", {"{{instance}}": f"causal_store_traces{{{_COLLECTOR}}}"}, stat=True, width=4),
                Graph(
                    "Volume",
                    {
                        "spans": _rate("causal_store_spans_ingested_total", _COLLECTOR),
                        "traces": _rate("causal_store_traces_received_total", _COLLECTOR),
                    },
                    "ops",
                ),
                Graph(
                    "Requests by outcome",
                    {
                        "{{transport}} {{outcome}}": _rate(
                            "causal_receiver_requests_total", _COLLECTOR, "transport, outcome"
                        )
                    },
                    "ops",
                ),
                Graph(
                    "Not kept, or at a wrong time",
                    {
                        "dropped: {{reason}}": _rate("causal_store_spans_dropped_total", _COLLECTOR, "reason"),
                        "misdated: {{reason}}": _rate("causal_store_spans_misdated_total", _COLLECTOR, "reason"),
                        "left out of span metrics": _rate("causal_span_metrics_left_out_total", _COLLECTOR),
                    },
                    "ops",
                ),
                Graph(
                    "Disk",
                    {
                        "used {{instance}}": f"causal_store_bytes{{{_COLLECTOR}}}",
                        "limit {{instance}}": f"causal_store_limit_bytes{{{_COLLECTOR}}}",
                        "free {{instance}}": f"causal_store_free_bytes{{{_COLLECTOR}}}",
                    },
                    "bytes",
                ),
                Graph(
                    "Waiting to be written",
                    {
                        "{{instance}}": f"causal_store_queue_bytes{{{_COLLECTOR}}}",
                        "limit {{instance}}": f"causal_store_queue_limit_bytes{{{_COLLECTOR}}}",
                    },
                    "bytes",
                ),
                Graph("Memory", {"{{instance}}": f"process_resident_memory_bytes{{{_COLLECTOR}}}"}, "bytes", width=6),
                Graph("CPU", {"{{instance}}": _rate("process_cpu_seconds_total", _COLLECTOR, "instance")}, width=6),
            ],
            "Export of the services": [
                Graph(
                    "Spans handed to the exporter, or lost before",
                    {
                        "{{service_name}} {{error_type}}": _rate(
                            "otel_sdk_processor_span_processed_total", by="service_name, error_type"
                        )
                    },
                    "ops",
                    "A reason stands beside what was lost.",
                ),
                Graph(
                    "Spans delivered, or lost on the way",
                    {
                        "{{service_name}} {{error_type}}": _rate(
                            "otel_sdk_exporter_span_exported_total", by="service_name, error_type"
                        )
                    },
                    "ops",
                ),
                Graph(
                    "Queue",
                    {
                        "{{service_name}}": "sum by (service_name) (otel_sdk_processor_span_queue_size)",
                        "limit {{service_name}}": "sum by (service_name) (otel_sdk_processor_span_queue_capacity)",
                    },
                ),
                Graph(
                    "Spool", {"{{service_name}}": "sum by (service_name) (causal_exporter_spool_size_bytes)"}, "bytes"
                ),
                Graph(
                    "Since the back end last took something",
                    {
                        "{{service_name}}": "time() - max by (service_name) "
                        "(causal_exporter_last_success_timestamp_seconds)"
                    },
                    "s",
                ),
            ],
            "OpenTelemetry Collector": [
                Graph(
                    "Spans",
                    {
                        "accepted": _rate("otelcol_receiver_accepted_spans_total"),
                        "refused": _rate("otelcol_receiver_refused_spans_total"),
                        "sent": _rate("otelcol_exporter_sent_spans_total"),
                    },
                    "ops",
                ),
                Graph(
                    "Traces decided",
                    {
                        "{{policy}} sampled={{sampled}}": _rate(
                            "otelcol_processor_tail_sampling_count_traces_sampled_total", by="policy, sampled"
                        )
                    },
                    "ops",
                ),
                Graph(
                    "Queue on disk",
                    {
                        "{{exporter}}": "otelcol_exporter_queue_size",
                        "limit {{exporter}}": "otelcol_exporter_queue_capacity",
                    },
                ),
                Graph("Memory", {"{{instance}}": "otelcol_process_memory_rss_bytes"}, "bytes"),
            ],
        },
        {"collector": "label_values(causal_store_bytes, instance)"},
    ),
]


# -- Grafana's form ---------------------------------------------------------------------------------------------------


def _panel(graph: Graph) -> Stat | TimeSeries:
    panel = Stat() if graph.stat else TimeSeries()
    panel = panel.title(graph.title).datasource(_SOURCE).unit(graph.unit).span(graph.width)
    panel = panel.height(4 if graph.stat else 8).description(graph.about)
    if isinstance(panel, TimeSeries):
        legend = VizLegendOptions().display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.BOTTOM)
        panel = panel.legend(legend.calcs(["mean", "max"])).fill_opacity(10).show_points(VisibilityMode.NEVER).min(0)
    for number, (name, expression) in enumerate(graph.targets.items()):
        query = Dataquery().expr(expression).legend_format(name).ref_id(chr(ord("A") + number))
        panel = panel.with_target(query.instant() if graph.stat else query.range().exemplar(True))
    return panel


def _dashboard(board: Board) -> Dashboard:
    made = Dashboard(board.title).uid(board.uid).tags(["tracing"]).time("now-1h", "now").refresh("30s").readonly()
    made = made.timezone("browser").with_variable(DatasourceVariable("datasource").type("prometheus"))
    for name, query in board.variables.items():
        variable = QueryVariable(name).query(query).datasource(_SOURCE).include_all(True).all_value(".*").multi(True)
        made = made.with_variable(variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED))
    for title, graphs in board.rows.items():
        made = made.with_row(Row(title))
        for graph in graphs:
            made = made.with_panel(_panel(graph))
    return made


def generated() -> dict[str, str]:
    """What belongs into each file of :data:`FOLDER`, by its name."""
    return {
        f"{board.uid}.json": json.dumps(_dashboard(board).build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        for board in DASHBOARDS
    }


def main() -> None:
    """Write the files."""
    for name, text in generated().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
