"""Settings: what may leave the process: context in messages, secrets, log records."""

from __future__ import annotations

from dataclasses import dataclass

from causal_otel._internal.setting_types import (
    BAGGAGE_BYTES,
    HOSTS,
    PATTERNS,
    PROPAGATORS,
    RULES,
    URL,
    WORDS,
    choice,
)
from causal_otel.settings.declaration import setting

__all__ = ["ContentSettings"]


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class ContentSettings:
    """Propagation, redaction and log records."""

    propagators: tuple[str, ...] = setting(
        PROPAGATORS,
        ("tracecontext", "baggage"),
        "The formats in which context travels between processes. `none`: it does not.",
        "OTEL_PROPAGATORS",
    )
    baggage_hosts: tuple[str, ...] = setting(
        HOSTS,
        ("internal",),
        "The hosts to which requests carry baggage. `internal` means loopback, private addresses, names without a dot "
        "and local domains.",
        "TRACING_BAGGAGE_HOSTS",
    )
    baggage_max_bytes: int = setting(
        BAGGAGE_BYTES, 8192, "Incoming baggage that is longer than this is not read.", "TRACING_BAGGAGE_MAX_BYTES"
    )

    redact: tuple[str, ...] = setting(
        RULES,
        ("all",),
        "The rules by which secrets are taken out of all that leaves the process: see [Privacy](privacy.md).",
        "TRACING_REDACT",
    )
    redact_keys: tuple[str, ...] = setting(
        WORDS,
        (),
        "More words that mean a secret. A value is redacted if the key of its attribute, or the name before it in a "
        "text, ends in one of them, in any spelling.",
        "TRACING_REDACT_KEYS",
    )
    redact_patterns: tuple[str, ...] = setting(
        PATTERNS, (), "More secrets: whatever these expressions match in any text.", "TRACING_REDACT_PATTERNS"
    )

    logs: str = setting(
        choice("correlate", "export", "off"),
        "correlate",
        "`correlate`: every record of `logging` has `trace_id`, `span_id`, `trace_sampled` and `service`: see "
        "[Logs](../how-to/logs.md). `export`: records are sent by OTLP as well. `off`: they are left as they are.",
        "TRACING_LOGS",
    )
    logs_level: str = setting(
        choice("debug", "info", "warning", "error", "critical"),
        "info",
        "With `logs=export`: the lowest level that is sent. The levels of the loggers themselves come before that.",
        "TRACING_LOGS_LEVEL",
    )
    logs_endpoint: str = setting(
        URL,
        "",
        "The complete OTLP URL for log records. Default: where spans go, with `/v1/logs` in place of `/v1/traces`.",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    )
