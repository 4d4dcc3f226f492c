"""Every setting, once: its name, type, default, environment variables and one line of help.

The fields of :class:`Settings` are the table. ``load_settings.py`` reads the environment and the arguments by it, and
``docs/reference/settings.md`` is written from it (``make docs``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from causal_otel._internal.setting_types import (
    BAGGAGE_BYTES,
    BOOLEAN,
    COUNT,
    EXCLUDED_NAMES,
    EXCLUDED_URLS,
    FILE,
    HEADER_NAMES,
    HOSTS,
    INSTRUMENTORS,
    MILLISECONDS,
    PAIRS,
    PATTERNS,
    PORT,
    POSITIVE,
    PROPAGATORS,
    PROXIES,
    RATE,
    RULES,
    SAMPLER_ARGUMENT,
    SAMPLERS,
    SECONDS,
    SECONDS_OR_OFF,
    STRATEGIES,
    TEXT,
    URL,
    WORDS,
    Kind,
    choice,
    setting,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import Field

__all__ = ["SettingError", "Settings", "table"]


class SettingError(ValueError):
    """A setting has a value that is not allowed. The message names it, the value and what is allowed."""


def _setting(kind: Kind, default: Any, help: str, *variables: str, secret: bool = False) -> Any:
    return setting(kind, default, help, secret=secret, variables=variables)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What :func:`causal_otel.install` works with. Times are in seconds."""

    enabled: bool = _setting(
        BOOLEAN, True, "`false`: `install()` returns at once and patches nothing.", "TRACING_ENABLED"
    )
    sdk_disabled: bool = _setting(
        BOOLEAN, False, "`true`: the same, by OpenTelemetry's own variable.", "OTEL_SDK_DISABLED"
    )

    service_name: str = _setting(
        TEXT,
        "",
        "The name of the service. Default: `service.name` of the resource attributes, else the program's name.",
        "OTEL_SERVICE_NAME",
    )
    service_version: str = _setting(TEXT, "", "The version of the service: `service.version`.", "SERVICE_VERSION")
    environment: str = _setting(TEXT, "", "Where the service runs: `deployment.environment.name`.", "ENVIRONMENT")
    resource_attributes: Mapping[str, str] = _setting(
        PAIRS,
        dict,
        "More attributes of the resource, which describe the service on every span.",
        "OTEL_RESOURCE_ATTRIBUTES",
    )

    exporter: str = _setting(
        choice("otlp", "jaeger", "console", "none"),
        "otlp",
        "Where spans go. `jaeger` is OTLP to `jaeger_host`. It is the default if only that host is given.",
        "OTEL_TRACES_EXPORTER",
        "TRACING_EXPORTER",
    )
    console: bool = _setting(BOOLEAN, False, "Print every span on standard error as well.", "TRACING_CONSOLE")
    traces_endpoint: str = _setting(
        URL,
        "",
        "The complete OTLP URL for traces. Nothing is appended: with HTTP it nearly always ends in `/v1/traces`.",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    )
    endpoint: str = _setting(
        URL,
        "",
        "The OTLP base URL. For HTTP, `/v1/traces` is appended; a URL that ends in it already is used with a warning. "
        "Default: port 4318 (HTTP) or 4317 (gRPC) on localhost.",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTLP_ENDPOINT",
    )
    jaeger_host: str = _setting(
        TEXT,
        "localhost",
        "The Jaeger host. The exporter `jaeger` sends there, whatever `endpoint` says.",
        "JAEGER_HOST",
    )
    jaeger_port: int | None = _setting(
        PORT,
        None,
        "The OTLP port of the Jaeger host. 4317 means gRPC, 4318 HTTP, whatever `protocol` says. A port of a retired "
        "Jaeger protocol is replaced by the OTLP port.",
        "JAEGER_PORT",
    )
    protocol: str = _setting(
        choice("http/protobuf", "grpc"),
        "http/protobuf",
        "The transport of OTLP. `grpc` needs the extra `grpc`.",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    )
    headers: Mapping[str, str] = _setting(
        PAIRS,
        dict,
        "Headers of every export, such as credentials. They are read once, by `install()`: restart the program to use "
        "a new token. What could not be delivered meanwhile waits, see `spool_directory`.",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_EXPORTER_OTLP_HEADERS",
        secret=True,
    )
    timeout: float = _setting(
        SECONDS,
        10.0,
        "How long one attempt to export may take.",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
    )
    compression: str = _setting(
        choice("none", "gzip", "deflate"),
        "none",
        "How exports are compressed. `deflate` works with HTTP only.",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
    )
    certificate: str = _setting(
        FILE,
        "",
        "A file of CA certificates, to check the collector's certificate against.",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
    )
    client_certificate: str = _setting(
        FILE,
        "",
        "The client's certificate, for mutual TLS.",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    )
    client_key: str = _setting(
        FILE,
        "",
        "The key of the client's certificate.",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    )
    insecure: bool | None = _setting(
        BOOLEAN,
        None,
        "`false`: gRPC uses TLS even if the endpoint begins with `http://`. With `https://` it always does.",
        "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
        "OTEL_EXPORTER_OTLP_INSECURE",
    )

    metrics_exporter: str = _setting(
        choice("otlp", "console", "none"),
        "none",
        "Where metrics go. A `MeterProvider` that is set before `install()` gets them in any case, unless this is set "
        "to `none`. `console` prints them on standard error. See [Metrics](metrics.md).",
        "OTEL_METRICS_EXPORTER",
    )
    metrics_endpoint: str = _setting(
        URL,
        "",
        "The complete OTLP URL for metrics. Default: `endpoint`, with `/v1/metrics` appended for HTTP.",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    )
    metrics_interval: float = _setting(
        MILLISECONDS, 60.0, "How often metrics are exported.", "OTEL_METRIC_EXPORT_INTERVAL"
    )
    metrics_temporality: str = _setting(
        choice("cumulative", "delta", "lowmemory"),
        "cumulative",
        "What metrics count: since the start of the process, or since the export before.",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    )

    sampler: str = _setting(
        SAMPLERS,
        "parentbased_rules",
        "Which traces are recorded. `parentbased_rules` follows `sampling_file`. Without a file it records one in ten "
        "health checks and everything else: see [Sampling](../how-to/sampling.md).",
        "OTEL_TRACES_SAMPLER",
    )
    sampler_arg: float | str | None = _setting(
        SAMPLER_ARGUMENT,
        None,
        "For the samplers with a ratio: the share, default 1. For the remote samplers: the server to ask, default "
        "`endpoint=http://localhost:5778,pollingIntervalMs=3000,initialSamplingRate=0.001`.",
        "OTEL_TRACES_SAMPLER_ARG",
    )
    sampling_file: str = _setting(
        STRATEGIES,
        "",
        "A file of sampling strategies in Jaeger's format, for the sampler `parentbased_rules`. It is read again when "
        "it changes.",
        "TRACING_SAMPLING_FILE",
    )
    keep_errors: str = _setting(
        choice("process", "collector", "off"),
        "off",
        "`process`: a trace that is not sampled is kept all the same if something in it fails. `collector`: everything "
        "is recorded, and the collector chooses. See [Sampling](../how-to/sampling.md#errors-kept).",
        "TRACING_KEEP_ERRORS",
    )
    keep_slow: float | None = _setting(
        SECONDS,
        None,
        "With `keep_errors=process`: also keep a trace whose part in this process takes at least this long. Default: "
        "duration does not matter.",
        "TRACING_KEEP_SLOW",
    )
    keep_max_traces: int = _setting(POSITIVE, 1000, "The most traces buffered at a time.", "TRACING_KEEP_MAX_TRACES")
    keep_max_spans: int = _setting(
        POSITIVE,
        1000,
        "The most spans buffered of one trace. Beyond that its oldest are dropped.",
        "TRACING_KEEP_MAX_SPANS",
    )
    keep_max_bytes: int = _setting(
        POSITIVE,
        32 * 1024 * 1024,
        "About how many bytes are buffered at the most. Beyond that the oldest spans are dropped.",
        "TRACING_KEEP_MAX_BYTES",
    )
    keep_max_age: float = _setting(
        SECONDS, 300.0, "Buffered spans of a trace that runs longer than this are dropped.", "TRACING_KEEP_MAX_AGE"
    )
    keep_linger: float = _setting(
        SECONDS,
        5.0,
        "How long a finished, successful trace stays buffered in case a later request of it fails.",
        "TRACING_KEEP_LINGER",
    )

    schedule_delay: float = _setting(
        MILLISECONDS, 5.0, "How long a span waits at the most for its batch to fill.", "OTEL_BSP_SCHEDULE_DELAY"
    )
    max_queue_size: int = _setting(
        POSITIVE, 8192, "The most spans that wait; beyond that the oldest are dropped.", "OTEL_BSP_MAX_QUEUE_SIZE"
    )
    max_export_batch_size: int = _setting(
        POSITIVE, 2048, "The most spans of one export.", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
    )
    export_timeout: float = _setting(
        MILLISECONDS,
        30.0,
        "How long one batch may take, with all attempts and the pauses between them. It waits longer if the collector "
        "refuses the credentials (401, 403): see `spool_directory`.",
        "OTEL_BSP_EXPORT_TIMEOUT",
    )
    exit_timeout: float = _setting(
        SECONDS, 5.0, "How long the end of a process may be delayed to export the last spans.", "TRACING_EXIT_TIMEOUT"
    )
    spool_directory: str = _setting(
        TEXT,
        "",
        "Where batches wait on disk while the collector cannot be reached, refuses the credentials (401, 403), or "
        "something else answers in its place. Default: nowhere. Then batches that cannot be delivered are lost after "
        "`export_timeout`. If the credentials are refused, about 16 MiB of them wait in memory until the process ends.",
        "TRACING_SPOOL_DIRECTORY",
    )
    spool_max_bytes: int = _setting(
        POSITIVE,
        64 * 1024 * 1024,
        "The most bytes that wait there, of all processes together. Beyond that the oldest batches are dropped.",
        "TRACING_SPOOL_MAX_BYTES",
    )

    attribute_count_limit: int = _setting(
        COUNT, 128, "The most attributes of a span, an event or a link.", "OTEL_ATTRIBUTE_COUNT_LIMIT"
    )
    attribute_value_length_limit: int | None = _setting(
        COUNT, None, "The most characters of an attribute's text. Default: any.", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"
    )
    span_attribute_count_limit: int | None = _setting(
        COUNT, None, "The most attributes of a span, if that differs.", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"
    )
    span_attribute_value_length_limit: int | None = _setting(
        COUNT, None, "The most characters of a span's, if that differs.", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"
    )
    span_event_count_limit: int = _setting(COUNT, 128, "The most events of a span.", "OTEL_SPAN_EVENT_COUNT_LIMIT")
    span_link_count_limit: int = _setting(COUNT, 128, "The most links of a span.", "OTEL_SPAN_LINK_COUNT_LIMIT")
    event_attribute_count_limit: int | None = _setting(
        COUNT, None, "The most attributes of an event, if that differs.", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"
    )
    link_attribute_count_limit: int | None = _setting(
        COUNT, None, "The most attributes of a link, if that differs.", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"
    )

    require_parent: bool = _setting(
        BOOLEAN,
        False,
        "`true`: queries, commands and requests that are sent are recorded only inside a span, unless `require_parent` "
        "of a patch's options says otherwise. By default one outside any span is a trace of its own.",
        "TRACING_REQUIRE_PARENT",
    )
    slow_plumbing: float = _setting(
        SECONDS,
        0.01,
        "Getting a connection, connecting, `BEGIN`, `COMMIT` and the like are a span where they take longer than this, "
        "though they went well. The option `slow_plumbing` of a patch replaces this for that patch.",
        "TRACING_SLOW_PLUMBING",
    )
    task_edges: bool = _setting(
        BOOLEAN,
        True,
        "Spans of a millisecond and more tell in which asyncio task they ran, and which task waited for that one: "
        "`causal.task` and its like.",
        "TRACING_TASK_EDGES",
    )
    cpu_time: bool = _setting(
        BOOLEAN,
        True,
        "Requests that are served and tasks tell how long they computed, how long they were ready to run but waited "
        "for their turn, and how long garbage was collected meanwhile: `causal.cpu`, `causal.loop.ready.wait`, "
        "`causal.gc`. The option `cpu_time` of a patch replaces this for the first two, for that patch.",
        "TRACING_CPU_TIME",
    )
    code_origin: bool = _setting(
        BOOLEAN,
        False,
        "`true`: queries, commands and requests that are sent tell the line of your own code that issued them: "
        "`causal.code.origin`. The option `code_origin` of a patch replaces this for that patch.",
        "TRACING_CODE_ORIGIN",
    )
    lock_waits: bool = _setting(
        BOOLEAN,
        True,
        "`false`: the patch `locks` is left out, which tells what was waited for at locks and queues. See "
        "[Locks and queues](../how-to/waits.md#locks-and-queues).",
        "TRACING_LOCK_WAITS",
    )
    loop_block_threshold: float = _setting(
        SECONDS_OR_OFF,
        0.05,
        "A turn of an event loop that takes this long, or longer, is a span `loop blocked`. `0`: none is, and no loop "
        "is watched. The option `loop_block_threshold` of the patch `event_loop` replaces this.",
        "TRACING_LOOP_BLOCK_THRESHOLD",
    )
    profiling: bool = _setting(
        BOOLEAN,
        False,
        "`true`: spans say what code ran in their own time: `causal.profile`. See [Profile](../how-to/profile.md).",
        "TRACING_PROFILING",
    )
    profiling_rate: float = _setting(
        RATE,
        20.0,
        "With `profiling`: how many times a second the threads are looked at that work for a span.",
        "TRACING_PROFILING_RATE",
    )
    process_context: bool = _setting(
        BOOLEAN,
        True,
        "Profilers outside of this process can read which service it is (OTEP 4719, on Linux): the attributes of the "
        "resource, in a mapping of memory that is called `OTEL_CTX`.",
        "TRACING_PROCESS_CONTEXT",
    )
    excluded_urls: tuple[str, ...] = _setting(
        EXCLUDED_URLS,
        (),
        "URLs of requests, received by FastAPI and Starlette or sent by HTTPX, that are never recorded, nor anything "
        "inside them. The option `excluded` of a patch replaces this for that patch.",
        "TRACING_EXCLUDED_URLS",
    )
    excluded_tasks: tuple[str, ...] = _setting(
        EXCLUDED_NAMES,
        (),
        "Task names of Celery and taskiq (`*` allowed) whose sending and execution are never recorded, nor anything "
        "inside.",
        "TRACING_EXCLUDED_TASKS",
    )
    request_headers: tuple[str, ...] = _setting(
        HEADER_NAMES,
        (),
        "Headers of received requests that are recorded, as `http.request.header.<name>`. The option of that name of a "
        "patch replaces this for that patch.",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST",
    )
    response_headers: tuple[str, ...] = _setting(
        HEADER_NAMES,
        (),
        "Headers of the responses to them that are recorded, as `http.response.header.<name>`. The option of that name "
        "of a patch replaces this for that patch.",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        PROXIES,
        (),
        "The proxies that are believed when they say whom a request comes from (`Forwarded`, `X-Forwarded-For`) and "
        "what it asked for. The option of that name of a patch replaces this for that patch.",
        "TRACING_TRUSTED_PROXIES",
    )

    instrumentors: tuple[str, ...] = _setting(
        INSTRUMENTORS,
        (),
        "OpenTelemetry's instrumentors to apply, for libraries that we have no patch for: `all`, or their names. As an "
        "argument it may be a mapping of name to options. See "
        "[Other libraries](../how-to/other-libraries.md).",
        "TRACING_INSTRUMENTORS",
    )

    propagators: tuple[str, ...] = _setting(
        PROPAGATORS,
        ("tracecontext", "baggage"),
        "The formats in which context travels between processes. `none`: it does not.",
        "OTEL_PROPAGATORS",
    )
    baggage_hosts: tuple[str, ...] = _setting(
        HOSTS,
        ("internal",),
        "The hosts to which requests carry baggage. `internal` means loopback, private addresses, names without a dot "
        "and local domains.",
        "TRACING_BAGGAGE_HOSTS",
    )
    baggage_max_bytes: int = _setting(
        BAGGAGE_BYTES, 8192, "Incoming baggage that is longer than this is not read.", "TRACING_BAGGAGE_MAX_BYTES"
    )

    redact: tuple[str, ...] = _setting(
        RULES,
        ("all",),
        "The rules by which secrets are taken out of all that leaves the process: see [Privacy](privacy.md).",
        "TRACING_REDACT",
    )
    redact_keys: tuple[str, ...] = _setting(
        WORDS,
        (),
        "More words that mean a secret. A value is redacted if the key of its attribute, or the name before it in a "
        "text, ends in one of them, in any spelling.",
        "TRACING_REDACT_KEYS",
    )
    redact_patterns: tuple[str, ...] = _setting(
        PATTERNS, (), "More secrets: whatever these expressions match in any text.", "TRACING_REDACT_PATTERNS"
    )

    logs: str = _setting(
        choice("correlate", "export", "off"),
        "correlate",
        "`correlate`: every record of `logging` has `trace_id`, `span_id`, `trace_sampled` and `service`: see "
        "[Logs](../how-to/logs.md). `export`: records are sent by OTLP as well. `off`: they are left as they are.",
        "TRACING_LOGS",
    )
    logs_level: str = _setting(
        choice("debug", "info", "warning", "error", "critical"),
        "info",
        "With `logs=export`: the lowest level that is sent. The levels of the loggers themselves come before that.",
        "TRACING_LOGS_LEVEL",
    )
    logs_endpoint: str = _setting(
        URL,
        "",
        "The complete OTLP URL for log records. Default: where spans go, with `/v1/logs` in place of `/v1/traces`.",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    )

    status_directory: str = _setting(
        TEXT,
        "",
        "Where each process keeps a file `<pid>.json` with what `status()` says, for `causal-otel doctor --pid`. It is "
        "written by `install()` and every ten seconds, and removed at the end. Default: nowhere.",
        "TRACING_STATUS_DIRECTORY",
    )

    given: Mapping[str, Mapping[str, object]] = field(default_factory=dict, repr=False, compare=False)
    """Not a setting: what was given for each, by the name of the argument or variable. The first is used."""

    @property
    def wanted(self) -> bool:
        """Whether tracing is switched on at all."""
        return self.enabled and not self.sdk_disabled


def table() -> tuple[Field[Any], ...]:
    """The settings, in the order of the page."""
    return tuple(setting for setting in fields(Settings) if setting.metadata)
