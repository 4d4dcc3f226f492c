"""Settings: which traces are recorded, how their spans are exported, and how large a span may be."""

from __future__ import annotations

from dataclasses import dataclass

from causal_otel._internal.setting_types import (
    COUNT,
    DIRECTORY,
    MILLISECONDS,
    POSITIVE,
    SAMPLER_ARGUMENT,
    SAMPLERS,
    SECONDS,
    STRATEGIES,
    choice,
)
from causal_otel.settings.declaration import setting

__all__ = ["SpanSettings"]


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class SpanSettings:
    """Sampling, batches of spans, the spool, and limits."""

    sampler: str = setting(
        SAMPLERS,
        "parentbased_rules",
        "Which traces are recorded. `parentbased_rules` follows `sampling_file`. Without a file it records one in ten "
        "health checks and everything else: see [Sampling](../how-to/sampling.md).",
        "OTEL_TRACES_SAMPLER",
    )
    sampler_arg: float | str | None = setting(
        SAMPLER_ARGUMENT,
        None,
        "For the samplers with a ratio: the share, default 1. For the remote samplers: the server to ask, default "
        "`endpoint=http://localhost:5778,pollingIntervalMs=3000,initialSamplingRate=0.001`.",
        "OTEL_TRACES_SAMPLER_ARG",
    )
    sampling_file: str = setting(
        STRATEGIES,
        "",
        "A file of sampling strategies in Jaeger's format, for the sampler `parentbased_rules`. It is read again when "
        "it changes.",
        "TRACING_SAMPLING_FILE",
    )
    keep_errors: str = setting(
        choice("process", "collector", "off"),
        "off",
        "`process`: a trace that is not sampled is kept all the same if something in it fails. `collector`: everything "
        "is recorded, and the collector chooses. See [Sampling](../how-to/sampling.md#errors-kept).",
        "TRACING_KEEP_ERRORS",
    )
    keep_slow: float | None = setting(
        SECONDS,
        None,
        "With `keep_errors=process`: also keep a trace whose part in this process takes at least this long. Default: "
        "duration does not matter.",
        "TRACING_KEEP_SLOW",
    )
    keep_max_traces: int = setting(POSITIVE, 1000, "The most traces buffered at a time.", "TRACING_KEEP_MAX_TRACES")
    keep_max_spans: int = setting(
        POSITIVE,
        1000,
        "The most spans buffered of one trace. Beyond that its oldest are dropped.",
        "TRACING_KEEP_MAX_SPANS",
    )
    keep_max_bytes: int = setting(
        POSITIVE,
        32 * 1024 * 1024,
        "About how many bytes are buffered at the most. Beyond that the oldest spans are dropped.",
        "TRACING_KEEP_MAX_BYTES",
    )
    keep_max_age: float = setting(
        SECONDS, 300.0, "Buffered spans of a trace that runs longer than this are dropped.", "TRACING_KEEP_MAX_AGE"
    )
    keep_linger: float = setting(
        SECONDS,
        5.0,
        "How long a finished, successful trace stays buffered in case a later request of it fails.",
        "TRACING_KEEP_LINGER",
    )

    schedule_delay: float = setting(
        MILLISECONDS, 5.0, "How long a span waits at the most for its batch to fill.", "OTEL_BSP_SCHEDULE_DELAY"
    )
    max_queue_size: int = setting(
        POSITIVE, 8192, "The most spans that wait; beyond that the oldest are dropped.", "OTEL_BSP_MAX_QUEUE_SIZE"
    )
    max_export_batch_size: int = setting(
        POSITIVE, 2048, "The most spans of one export.", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
    )
    export_timeout: float = setting(
        MILLISECONDS,
        30.0,
        "How long one batch may take, with all attempts and the pauses between them. It waits longer if the collector "
        "refuses the credentials (401, 403): see `spool_directory`.",
        "OTEL_BSP_EXPORT_TIMEOUT",
    )
    exit_timeout: float = setting(
        SECONDS, 5.0, "How long the end of a process may be delayed to export the last spans.", "TRACING_EXIT_TIMEOUT"
    )
    spool_directory: str = setting(
        DIRECTORY,
        "",
        "Where batches wait on disk while the collector cannot be reached, refuses the credentials (401, 403), or "
        "something else answers in its place. Default: nowhere. Then batches that cannot be delivered are lost after "
        "`export_timeout`. If the credentials are refused, about 16 MiB of them wait in memory until the process ends.",
        "TRACING_SPOOL_DIRECTORY",
    )
    spool_max_bytes: int = setting(
        POSITIVE,
        64 * 1024 * 1024,
        "The most bytes that wait there, of all processes together. Beyond that the oldest batches are dropped.",
        "TRACING_SPOOL_MAX_BYTES",
    )

    attribute_count_limit: int = setting(
        COUNT, 128, "The most attributes of a span, an event or a link.", "OTEL_ATTRIBUTE_COUNT_LIMIT"
    )
    attribute_value_length_limit: int | None = setting(
        COUNT, None, "The most characters of an attribute's text. Default: any.", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"
    )
    span_attribute_count_limit: int | None = setting(
        COUNT, None, "The most attributes of a span, if that differs.", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"
    )
    span_attribute_value_length_limit: int | None = setting(
        COUNT, None, "The most characters of a span's, if that differs.", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"
    )
    span_event_count_limit: int = setting(COUNT, 128, "The most events of a span.", "OTEL_SPAN_EVENT_COUNT_LIMIT")
    span_link_count_limit: int = setting(COUNT, 128, "The most links of a span.", "OTEL_SPAN_LINK_COUNT_LIMIT")
    event_attribute_count_limit: int | None = setting(
        COUNT, None, "The most attributes of an event, if that differs.", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"
    )
    link_attribute_count_limit: int | None = setting(
        COUNT, None, "The most attributes of a link, if that differs.", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"
    )
