"""What the Grafana dashboards show: the table that generate.py writes them from."""

from __future__ import annotations

from panels import SPANS, Board, Graph, measured, operations, quantile, rate, share_of_errors

__all__ = ["DASHBOARDS"]

_SERVED = 'service_name=~"$service", span_kind=~"SPAN_KIND_(SERVER|CONSUMER)"'
_REQUESTS = 'service_name=~"$service", span_kind="SPAN_KIND_SERVER"'
_QUERIES = 'service_name=~"$service", span_kind="SPAN_KIND_CLIENT", system=~"$system"'
_TASKS = 'service_name=~"$service", span_kind="SPAN_KIND_CONSUMER"'
_SENT = 'service_name=~"$service", span_kind="SPAN_KIND_PRODUCER"'
_NAMED = "service_name, span_name"
_SERVICES = {"service": f"label_values({SPANS.calls}, service_name)"}
_SYSTEM = {"system": f'label_values({SPANS.calls}{{span_kind="SPAN_KIND_CLIENT", system!=""}}, system)'}
_HTTP_SERVER = "http_server_request_duration_seconds"
_OWN = 'service_name=~"$service"'
_OWN_QUERIES = f'{_OWN}, db_system_name=~"$system"'
_POOL = "service_name, db_client_connection_pool_name"
_OF_POOL = "{{service_name}} {{db_client_connection_pool_name}}"
_COLLECTOR = 'instance=~"$collector"'

DASHBOARDS = [
    Board(
        "causal-services",
        "Services",
        {
            "All requests and tasks of a service": operations(_SERVED, "service_name", "{{service_name}}"),
            "Requests by operation": [
                *operations(_REQUESTS, _NAMED, "{{service_name}} {{span_name}}"),
                Graph(
                    "99th percentile of the duration",
                    {"{{service_name}} {{span_name}}": quantile(0.99, _REQUESTS, _NAMED)},
                    "s",
                ),
                Graph(
                    "Time spent",
                    {
                        "{{service_name}} {{span_name}}": rate(
                            f"{SPANS.seconds}_sum", _REQUESTS, "service_name, span_name"
                        )
                    },
                    "s",
                    "Seconds of work in a second: where to look first, be it slow or frequent.",
                ),
            ],
            "Requests, as the services measure them": [
                *operations(
                    _OWN,
                    "service_name, http_request_method, http_route",
                    "{{service_name}} {{http_request_method}} {{http_route}}",
                    measured(_HTTP_SERVER),
                ),
                Graph(
                    "Requests under way",
                    {"{{service_name}}": f"sum by (service_name) (http_server_active_requests{{{_OWN}}})"},
                ),
                Graph(
                    "Answers by status",
                    {
                        "{{service_name}} {{http_response_status_code}}": rate(
                            "http_server_request_duration_seconds_count",
                            _OWN,
                            "service_name, http_response_status_code",
                        )
                    },
                    "ops",
                ),
            ],
            "Calls of others over HTTP, as the services measure them": operations(
                _OWN,
                "service_name, server_address",
                "{{service_name}} to {{server_address}}",
                measured("http_client_request_duration_seconds"),
            ),
        },
        _SERVICES,
    ),
    Board(
        "causal-databases",
        "Databases",
        {
            "By database": operations(_QUERIES, "service_name, system", "{{service_name}} {{system}}"),
            "By operation": [
                *operations(_QUERIES, "system, span_name", "{{system}} {{span_name}}"),
                Graph(
                    "Time spent",
                    {"{{system}} {{span_name}}": rate(f"{SPANS.seconds}_sum", _QUERIES, "system, span_name")},
                    "s",
                    "Seconds of waiting in a second, the driver's and the pool's share included.",
                ),
            ],
            "As the services measure them": [
                *operations(
                    _OWN_QUERIES,
                    "db_system_name, db_operation_name, db_query_summary",
                    "{{db_system_name}} {{db_query_summary}} {{db_operation_name}}",
                    measured("db_client_operation_duration_seconds"),
                ),
                Graph(
                    "Rows a query, 95th percentile",
                    {
                        "{{db_system_name}} {{db_query_summary}}": quantile(
                            0.95,
                            _OWN_QUERIES,
                            "db_system_name, db_query_summary",
                            measured("db_client_response_returned_rows"),
                        )
                    },
                    about="Of the databases that tell: PostgreSQL and Neo4j.",
                ),
            ],
            "Database pools, as the services measure them": [
                *(
                    Graph(
                        f"{title} of the wait for a connection",
                        {_OF_POOL: quantile(share, _OWN, _POOL, measured("db_client_connection_wait_time_seconds"))},
                        "s",
                        "From asking the pool until a connection is there, one that had to be made included.",
                    )
                    for title, share in (("Median", 0.5), ("95th percentile", 0.95))
                ),
                Graph(
                    "Connections",
                    {
                        f"{_OF_POOL} {{{{db_client_connection_state}}}}": (
                            f"sum by ({_POOL}, db_client_connection_state) (db_client_connection_count{{{_OWN}}})"
                        )
                    },
                    about="In use, and idle. A pool of which all are in use is too small, or somebody keeps them.",
                ),
                Graph(
                    "Waiting for a connection",
                    {_OF_POOL: f"sum by ({_POOL}) (db_client_connection_pending_requests{{{_OWN}}})"},
                ),
                Graph(
                    "Waited in vain",
                    {_OF_POOL: rate("db_client_connection_timeouts_total", _OWN, _POOL)},
                    "ops",
                ),
                *(
                    Graph(
                        f"95th percentile of {what}",
                        {_OF_POOL: quantile(0.95, _OWN, _POOL, measured(f"db_client_connection_{name}_seconds"))},
                        "s",
                    )
                    for what, name in (("connecting", "create_time"), ("using a connection", "use_time"))
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
                    {"sent by {{service_name}}": rate(SPANS.calls, _SENT, "service_name")},
                    "ops",
                    "If it stays above what is processed, the queue grows.",
                ),
                Graph("Tasks", {"processed by {{service_name}}": rate(SPANS.calls, _TASKS, "service_name")}, "ops"),
            ],
            "Tasks": operations(_TASKS, "service_name, span_name", "{{service_name}} {{span_name}}"),
            "Tasks, as the workers measure them": operations(
                _OWN,
                "service_name, celery_task_name",
                "{{service_name}} {{celery_task_name}}",
                measured("messaging_process_duration_seconds"),
            ),
            "Waiting in the queue, as the workers measure it": [
                Graph(
                    f"{title} of the wait",
                    {
                        "{{service_name}} {{celery_task_name}}": quantile(
                            share, _OWN, "service_name, celery_task_name", measured("causal_celery_queue_wait_seconds")
                        )
                    },
                    "s",
                    "From when a task could run (it was sent, or its eta) until it did, by the clocks of two machines.",
                )
                for title, share in (("Median", 0.5), ("95th percentile", 0.95))
            ],
            "Sending, as the services measure it": operations(
                _OWN,
                "service_name, messaging_destination_name",
                "{{service_name}} to {{messaging_destination_name}}",
                measured("messaging_client_operation_duration_seconds"),
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
                        "spans": rate("causal_store_spans_ingested_total", _COLLECTOR),
                        "traces": rate("causal_store_traces_received_total", _COLLECTOR),
                        "log records": rate("causal_store_log_records_ingested_total", _COLLECTOR),
                    },
                    "ops",
                ),
                Graph(
                    "Share of spans with an error",
                    {"{{service_name}}": share_of_errors("", "service_name")},
                    "percentunit",
                    "Of all spans that came, of any kind.",
                ),
                Graph(
                    "Requests by outcome",
                    {
                        "{{transport}} {{outcome}}": rate(
                            "causal_receiver_requests_total", _COLLECTOR, "transport, outcome"
                        )
                    },
                    "ops",
                ),
                Graph(
                    "Not kept, or at a wrong time",
                    {
                        "dropped: {{reason}}": rate("causal_store_spans_dropped_total", _COLLECTOR, "reason"),
                        "log records dropped: {{reason}}": rate(
                            "causal_store_log_records_dropped_total", _COLLECTOR, "reason"
                        ),
                        "misdated: {{reason}}": rate("causal_store_spans_misdated_total", _COLLECTOR, "reason"),
                        "left out of span metrics": rate("causal_span_metrics_left_out_total", _COLLECTOR),
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
                Graph("CPU", {"{{instance}}": rate("process_cpu_seconds_total", _COLLECTOR, "instance")}, width=6),
            ],
            "Sent on by our collector, with --forward": [
                Graph(
                    "Spans by outcome",
                    {"{{outcome}}": rate("causal_forward_spans_total", _COLLECTOR, "outcome")},
                    "ops",
                ),
                Graph(
                    "Queue on disk",
                    {
                        "{{instance}}": f"causal_forward_queue_bytes{{{_COLLECTOR}}}",
                        "limit {{instance}}": f"causal_forward_queue_limit_bytes{{{_COLLECTOR}}}",
                    },
                    "bytes",
                ),
                Graph("Failing", {"{{instance}}": f"causal_forward_failing{{{_COLLECTOR}}}"}, stat=True),
                Graph("Spans that wait", {"{{instance}}": f"causal_forward_queue_spans{{{_COLLECTOR}}}"}, stat=True),
            ],
            "Export of the services": [
                Graph(
                    "Spans handed to the exporter, or lost before",
                    {
                        "{{service_name}} {{error_type}}": rate(
                            "otel_sdk_processor_span_processed_total", by="service_name, error_type"
                        )
                    },
                    "ops",
                    "A reason stands beside what was lost.",
                ),
                Graph(
                    "Spans delivered, or lost on the way",
                    {
                        "{{service_name}} {{error_type}}": rate(
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
                        "accepted": rate("otelcol_receiver_accepted_spans_total"),
                        "refused": rate("otelcol_receiver_refused_spans_total"),
                        "sent": rate("otelcol_exporter_sent_spans_total"),
                    },
                    "ops",
                ),
                Graph(
                    "Traces decided",
                    {
                        "{{policy}} sampled={{sampled}}": rate(
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
