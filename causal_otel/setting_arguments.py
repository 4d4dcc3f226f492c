"""The settings as keyword arguments of ``install()``, for type checkers: one that is misspelt is an error of theirs.

The table is ``settings/``; a test holds this one to it. None is "not given".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

__all__ = ["SettingArguments"]


class SettingArguments(TypedDict, total=False):
    """Every setting but ``service_name``, ``patches`` and ``instrumentors``, which are parameters of their own."""

    config_file: str | os.PathLike[str] | None
    enabled: bool | None
    sdk_disabled: bool | None
    service_version: str | None
    environment: str | None
    resource_attributes: Mapping[str, AttributeValue] | None
    exporter: str | None
    console: bool | None
    traces_endpoint: str | None
    endpoint: str | None
    jaeger_host: str | None
    jaeger_port: int | None
    protocol: str | None
    headers: Mapping[str, str] | None
    timeout: float | None
    compression: str | None
    certificate: str | os.PathLike[str] | None
    client_certificate: str | os.PathLike[str] | None
    client_key: str | os.PathLike[str] | None
    insecure: bool | None
    metrics_exporter: str | None
    metrics_endpoint: str | None
    metrics_interval: float | None
    metrics_temporality: str | None
    sampler: str | None
    sampler_arg: float | str | None
    sampling_file: str | None
    keep_errors: str | None
    keep_slow: float | None
    keep_max_traces: int | None
    keep_max_spans: int | None
    keep_max_bytes: int | None
    keep_max_age: float | None
    keep_linger: float | None
    schedule_delay: float | None
    max_queue_size: int | None
    max_export_batch_size: int | None
    export_timeout: float | None
    exit_timeout: float | None
    spool_directory: str | None
    spool_max_bytes: int | None
    attribute_count_limit: int | None
    attribute_value_length_limit: int | None
    span_attribute_count_limit: int | None
    span_attribute_value_length_limit: int | None
    span_event_count_limit: int | None
    span_link_count_limit: int | None
    event_attribute_count_limit: int | None
    link_attribute_count_limit: int | None
    disabled_patches: list[str] | tuple[str, ...] | None
    require_parent: bool | None
    slow_plumbing: float | None
    task_edges: bool | None
    cpu_time: bool | None
    code_origin: bool | None
    lock_waits: bool | None
    loop_block_threshold: float | None
    profiling: bool | None
    profiling_rate: float | None
    process_context: bool | None
    excluded_urls: list[str] | tuple[str, ...] | None
    excluded_tasks: list[str] | tuple[str, ...] | None
    request_headers: list[str] | tuple[str, ...] | None
    response_headers: list[str] | tuple[str, ...] | None
    trusted_proxies: list[str] | tuple[str, ...] | None
    propagators: list[str] | tuple[str, ...] | None
    baggage_hosts: list[str] | tuple[str, ...] | None
    baggage_max_bytes: int | None
    redact: list[str] | tuple[str, ...] | None
    redact_keys: list[str] | tuple[str, ...] | None
    redact_patterns: list[str] | tuple[str, ...] | None
    logs: str | None
    logs_level: str | None
    logs_endpoint: str | None
    status_directory: str | None
