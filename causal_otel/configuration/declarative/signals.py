"""What the file says of spans, metrics and log records: the three providers, as our settings have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.configuration.declarative.exporters import OTLP, SETTINGS, OtlpExporter, read_otlp
from causal_otel.configuration.declarative.sampler import read_sampler
from causal_otel.settings import Settings

if TYPE_CHECKING:
    from causal_otel.configuration.declarative.reading import Reading
    from causal_otel.configuration.declarative.sections import Section

__all__ = ["read_signals"]

_BATCH = {"max_queue_size": "max_queue_size", "max_export_batch_size": "max_export_batch_size"}
_BATCH_TIMES = {"schedule_delay": "schedule_delay", "export_timeout": "export_timeout"}
_SPAN_LIMITS = {
    "attribute_count_limit": "span_attribute_count_limit",
    "attribute_value_length_limit": "span_attribute_value_length_limit",
    "event_count_limit": "span_event_count_limit",
    "link_count_limit": "span_link_count_limit",
    "event_attribute_count_limit": "event_attribute_count_limit",
    "link_attribute_count_limit": "link_attribute_count_limit",
}
_AT_ONCE = 0.001
"""What ``simple`` is here, in seconds. A span is never sent by the thread that ends it."""
_ONE_DESTINATION = "each signal has one destination; a collector can send on to others"
_READER_TIMEOUT = 30_000
"""Milliseconds, OpenTelemetry's default: there is nothing to set here, so another value is refused."""


def read_signals(root: Section, reading: Reading) -> None:
    """Read the three providers. One that is left out does nothing, as OpenTelemetry says."""
    spans: OtlpExporter | None = None
    if "tracer_provider" in root:
        spans = _spans(root.section("tracer_provider"), reading)
    else:
        reading.give("exporter", "none", "tracer_provider (absent)")
    if "meter_provider" in root:
        _metrics(root.section("meter_provider"), reading)
    else:
        reading.give("metrics_exporter", "none", "meter_provider (absent)")
    _logs(root.section("logger_provider"), spans, reading)


def _otlp(exporter: Section, signal: str, reading: Reading) -> OtlpExporter | None:
    """What is sent by OTLP; None: it goes another way."""
    key = next((key for key in OTLP if key in exporter), None)
    return None if key is None else read_otlp(key, exporter.section(key), signal, reading)


def _inner(processor: Section) -> Section:
    """A processor's own content, whichever of the two it is."""
    return processor.section("batch" if "batch" in processor else "simple")


# -- spans --------------------------------------------------------------------------------------------------------


def _spans(provider: Section, reading: Reading) -> OtlpExporter | None:
    """Read ``tracer_provider``; returns the exporter by OTLP, if there is one."""
    reading.take(provider.section("limits"), _SPAN_LIMITS)
    read_sampler(provider, reading)
    provider.section("id_generator").take("random")
    found: OtlpExporter | None = None
    console = ""
    for processor in provider.sections("processors"):
        inner = _inner(processor)
        exporter = inner.section("exporter")
        if "console" in exporter:
            console = exporter.name("console")
            exporter.take("console")
        elif found is not None:
            reading.refuse(exporter.path, _ONE_DESTINATION)
            inner.drop()
        elif found := _otlp(exporter, "traces", reading):
            _give_exporter(found, reading)
            if "batch" in processor:
                reading.take(inner, _BATCH)
                reading.take_times(inner, _BATCH_TIMES)
            else:
                reading.give("schedule_delay", _AT_ONCE, inner.path)
    if found is None:
        reading.give("exporter", "console" if console else "none", console or provider.name("processors"))
    elif console:
        reading.give("console", True, console)
    return found


def _give_exporter(exporter: OtlpExporter, reading: Reading) -> None:
    """Note the exporter of spans. What it leaves out is the default: it is no other source's."""
    reading.give("exporter", "otlp", exporter.path)
    reading.give("traces_endpoint", exporter.endpoint, exporter.paths["endpoint"])
    for name in SETTINGS:
        if name in exporter.paths:
            reading.give(name, exporter.settings[name], exporter.paths[name])
        else:
            reading.assume(name, exporter.path)


# -- metrics ------------------------------------------------------------------------------------------------------


def _metrics(provider: Section, reading: Reading) -> None:
    readers = [reader for reader in provider.sections("readers") if "periodic" in reader]
    for other in readers[1:]:
        reading.refuse(other.path, _ONE_DESTINATION)
        other.drop()
    if not readers:  # one that is asked is refused, as it is left
        reading.give("metrics_exporter", "none", provider.name("readers"))
        return
    periodic = readers[0].section("periodic")
    exporter = periodic.section("exporter")
    reading.take_times(periodic, {"interval": "metrics_interval"})
    if periodic.take("timeout") not in (None, _READER_TIMEOUT):
        reading.refuse(periodic.name("timeout"), "set the timeout of the exporter")
    for key in ("console", *OTLP):
        if key in exporter:
            _preferences(exporter.section(key), reading)
    if "console" in exporter:
        reading.give("metrics_exporter", "console", exporter.name("console"))
    elif otlp := _otlp(exporter, "metrics", reading):
        reading.give("metrics_exporter", "otlp", otlp.path)
        reading.give("metrics_endpoint", otlp.endpoint, otlp.paths["endpoint"])
        reading.of_metrics = {**otlp.settings, "insecure": None}


def _preferences(exporter: Section, reading: Reading) -> None:
    temporality = exporter.take("temporality_preference")
    name = exporter.name("temporality_preference")
    reading.give("metrics_temporality", "lowmemory" if temporality == "low_memory" else temporality, name)
    if exporter.take("default_histogram_aggregation") not in (None, "explicit_bucket_histogram"):
        reading.refuse(exporter.name("default_histogram_aggregation"), "it can be explicit_bucket_histogram only")


# -- log records --------------------------------------------------------------------------------------------------


def _logs(provider: Section, spans: OtlpExporter | None, reading: Reading) -> None:
    """Read ``logger_provider``. Records are sent as spans are: by the same protocol, with the same headers."""
    exported = False
    for processor in provider.sections("processors"):
        inner = _inner(processor)
        exporter = inner.section("exporter")
        otlp = _otlp(exporter, "logs", reading)
        if otlp is None:
            continue  # to the console, for example: it is refused, as it is left
        if exported:
            reading.refuse(otlp.path, _ONE_DESTINATION)
            inner.drop()
        elif spans is None:
            reading.refuse(otlp.path, "log records are sent only where spans are sent by OTLP, too")
            inner.drop()
        else:
            exported = True
            reading.give("logs", "export", otlp.path)
            reading.give("logs_endpoint", otlp.endpoint, otlp.paths["endpoint"])
            _refuse_differences(inner, otlp, spans, reading)


def _refuse_differences(batch: Section, logs: OtlpExporter, spans: OtlpExporter, reading: Reading) -> None:
    for name in SETTINGS:
        if logs.settings[name] != spans.settings[name]:
            path = logs.paths.get(name, logs.path)
            reading.refuse(path, f"the exporter of log records must have the {name} of that of spans")
    for key, name in {**_BATCH, **_BATCH_TIMES}.items():
        value = batch.take(key)
        if key in _BATCH_TIMES and value is not None:
            value /= 1000
        if value not in (None, reading.values.get(name, getattr(Settings(), name))):
            reading.refuse(batch.name(key), f"the batches of log records must have the {key} of those of spans")
