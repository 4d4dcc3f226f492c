"""What the Grafana dashboards show: the table that generate.py writes them from.

Span metrics (``traces_span_metrics_*``) are counted from spans, by our collector or by the OpenTelemetry Collector.
What the services measure themselves has the names of OpenTelemetry's conventions as Prometheus writes them, whether the
Collector's exporter or the OTLP receiver of Prometheus has made them so: ``http.server.request.duration`` in seconds is
``http_server_request_duration_seconds``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["DASHBOARDS", "Board", "Graph"]


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


class _Durations(NamedTuple):
    """A histogram: what counts, what it has in seconds, and by which label those are known that failed."""

    calls: str
    seconds: str
    failed: str


_SPANS = _Durations(
    "traces_span_metrics_calls_total", "traces_span_metrics_duration_seconds", 'status_code="STATUS_CODE_ERROR"'
)


def _measured(name: str) -> _Durations:
    """A histogram of the services' own."""
    return _Durations(f"{name}_count", name, 'error_type!=""')


def _quantile(share: float, labels: str, by: str, of: _Durations = _SPANS) -> str:
    return f"histogram_quantile({share}, {_rate(f'{of.seconds}_bucket', labels, f'le, {by}')})"


def _share_of_errors(labels: str, by: str, of: _Durations) -> str:
    failed = _rate(of.calls, f"{labels}, {of.failed}", by)
    every = _rate(of.calls, labels, by)
    return f"({failed} or 0 * {every}) / {every}"


def _operations(labels: str, by: str, legend: str, of: _Durations = _SPANS) -> list[Graph]:
    """Rate, errors and duration."""
    return [
        Graph("Rate", {legend: _rate(of.calls, labels, by)}, "ops"),
        Graph("Share that fails", {legend: _share_of_errors(labels, by, of)}, "percentunit"),
        Graph("Median duration", {legend: _quantile(0.5, labels, by, of)}, "s"),
        Graph("95th percentile of the duration", {legend: _quantile(0.95, labels, by, of)}, "s"),
    ]


_SERVED = 'service_name=~"$service", span_kind=~"SPAN_KIND_(SERVER|CONSUMER)"'
_REQUESTS = 'service_name=~"$service", span_kind="SPAN_KIND_SERVER"'
_QUERIES = 'service_name=~"$service", span_kind="SPAN_KIND_CLIENT", system=~"$system"'
_TASKS = 'service_name=~"$service", span_kind="SPAN_KIND_CONSUMER"'
_SENT = 'service_name=~"$service", span_kind="SPAN_KIND_PRODUCER"'
_NAMED = "service_name, span_name"
_SERVICES = {"service": f"label_values({_SPANS.calls}, service_name)"}
_SYSTEM = {"system": f'label_values({_SPANS.calls}{{span_kind="SPAN_KIND_CLIENT", system!=""}}, system)'}
_HTTP_SERVER = "http_server_request_duration_seconds"
_OWN = 'service_name=~"$service"'
_OWN_QUERIES = f'{_OWN}, db_system_name=~"$system"'
_COLLECTOR = 'instance=~"$collector"'


# -- dashboards -------------------------------------------------------------------------------------------------------

DASHBOARDS = [
    Board(
        "causal-services",
        "Services",
        {
            "All requests and tasks of a service": _operations(_SERVED, "service_name", "{{service_name}}"),
            "Requests by operation": [
                *_operations(_REQUESTS, _NAMED, "{{service_name}} {{span_name}}"),
                Graph(
                    "99th percentile of the duration",
                    {"{{service_name}} {{span_name}}": _quantile(0.99, _REQUESTS, _NAMED)},
                    "s",
                ),
                Graph(
                    "Time spent",
                    {
                        "{{service_name}} {{span_name}}": _rate(
                            f"{_SPANS.seconds}_sum", _REQUESTS, "service_name, span_name"
                        )
                    },
                    "s",
                    "Seconds of work in a second: where to look first, be it slow or frequent.",
                ),
            ],
            "Requests, as the services measure them": [
                *_operations(
                    _OWN,
                    "service_name, http_request_method, http_route",
                    "{{service_name}} {{http_request_method}} {{http_route}}",
                    _measured(_HTTP_SERVER),
                ),
                Graph(
                    "Requests under way",
                    {"{{service_name}}": f"sum by (service_name) (http_server_active_requests{{{_OWN}}})"},
                ),
                Graph(
                    "Answers by status",
                    {
                        "{{service_name}} {{http_response_status_code}}": _rate(
                            "http_server_request_duration_seconds_count",
                            _OWN,
                            "service_name, http_response_status_code",
                        )
                    },
                    "ops",
                ),
            ],
            "Calls of others over HTTP, as the services measure them": _operations(
                _OWN,
                "service_name, server_address",
                "{{service_name}} to {{server_address}}",
                _measured("http_client_request_duration_seconds"),
            ),
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
                    {"{{system}} {{span_name}}": _rate(f"{_SPANS.seconds}_sum", _QUERIES, "system, span_name")},
                    "s",
                    "Seconds of waiting in a second, the driver's and the pool's share included.",
                ),
            ],
            "As the services measure them": [
                *_operations(
                    _OWN_QUERIES,
                    "db_system_name, db_operation_name, db_query_summary",
                    "{{db_system_name}} {{db_query_summary}} {{db_operation_name}}",
                    _measured("db_client_operation_duration_seconds"),
                ),
                Graph(
                    "Rows a query, 95th percentile",
                    {
                        "{{db_system_name}} {{db_query_summary}}": _quantile(
                            0.95,
                            _OWN_QUERIES,
                            "db_system_name, db_query_summary",
                            _measured("db_client_response_returned_rows"),
                        )
                    },
                    about="Of the databases that tell: PostgreSQL and Neo4j.",
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
                    {"sent by {{service_name}}": _rate(_SPANS.calls, _SENT, "service_name")},
                    "ops",
                    "If it stays above what is processed, the queue grows.",
                ),
                Graph("Tasks", {"processed by {{service_name}}": _rate(_SPANS.calls, _TASKS, "service_name")}, "ops"),
            ],
            "Tasks": _operations(_TASKS, "service_name, span_name", "{{service_name}} {{span_name}}"),
            "Tasks, as the workers measure them": _operations(
                _OWN,
                "service_name, celery_task_name",
                "{{service_name}} {{celery_task_name}}",
                _measured("messaging_process_duration_seconds"),
            ),
            "Sending, as the services measure it": _operations(
                _OWN,
                "service_name, messaging_destination_name",
                "{{service_name}} to {{messaging_destination_name}}",
                _measured("messaging_client_operation_duration_seconds"),
            ),
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
