"""``docs/reference/metrics.md``, from the instruments that the patches declare: ``make docs``."""

from __future__ import annotations

from causal_otel._reference.patches import link
from causal_otel.instrument.measured import Instrument
from causal_otel.instrument.registry import BUILT_IN
from causal_otel.metrics import loops, pools
from causal_otel.metrics.cells import LIMIT
from causal_otel.settings import table

__all__ = ["reference"]

_SETTINGS = ("metrics_exporter", "metrics_endpoint", "metrics_interval", "metrics_temporality")

_INTRODUCTION = """\
# Metrics

Written by `make docs`; do not edit.

Each operation of a patch is measured, whether or not a span is recorded of it: failed and cancelled operations too,
and those outside any span. Names, units, buckets and attributes are those of the semantic conventions 1.44, which have
none for those that begin with `causal.`.

Metrics are off by default. There are two ways to have them:

* **Exported by us.** `OTEL_METRICS_EXPORTER=otlp` sends them to the endpoint that spans are sent to, through the metric
  pipeline of OpenTelemetry's SDK. Its `MeterProvider` becomes the global one, so that instruments of your own are
  exported too, and so are the export's own counts (`otel.sdk.*`, `causal.exporter.*`). For each
  `OTEL_EXPORTER_OTLP_TRACES_*` variable there is an `OTEL_EXPORTER_OTLP_METRICS_*` one.
* **Read by your own `MeterProvider`.** One that is set globally before `install()`, or given as
  `install(meter_provider=...)`, gets them, with its readers, views and exporters; then nothing is exported by us.
  `OTEL_METRICS_EXPORTER=none` switches metrics off for a global one.

`causal_otel.status()` says where metrics go, and which patches have them. [Turn metrics on](../how-to/metrics.md) shows
both ways.

## Instruments

| metric | unit | patches | what it measures | attributes | buckets |
|---|---|---|---|---|---|
"""

_NOTES = """
An attribute is there if the operation has it. `error.type` is that of the span; a cancelled operation has none.
`celery.task.name` and `taskiq.task.name` are no conventions': most queues have the same name, and the task is what
people look for.

Not measured: pings, waits for work and other housekeeping of drivers, what is a span only if it fails, what is excluded
with everything inside it, and websockets.

An instrument has at most {limit:,} sets of attributes, as in OpenTelemetry's SDK. What comes beyond that is measured
with the single attribute `otel.metric.overflow`. Values of attributes go through the [redaction](privacy.md) of spans.

The collector of causal_otel keeps spans and log records, no metrics: with it, `metrics_endpoint` has to name
something else.

Counts are cumulative from the start of the process, unless `metrics_temporality` says otherwise. A forked child begins
with none and has a `service.instance.id` of its own, unless the resource attributes give one.

## Settings

| argument | variable | default | what it does |
|---|---|---|---|
"""


def reference() -> str:
    """The page, in Markdown."""
    users: dict[Instrument, list[str]] = {}
    for name, registered in BUILT_IN.items():
        patch = registered.load()
        others = (*(pools.INSTRUMENTS if patch.pools else ()), *(loops.INSTRUMENTS if patch.loops else ()))
        for instrument in others:
            users.setdefault(instrument, []).append(name)
        for measured in patch.metrics.values():
            for instrument in (
                measured.duration,
                measured.rows,
                measured.active,
                measured.counted,
                *measured.noted.values(),
            ):
                if instrument is not None:
                    users.setdefault(instrument, []).append(name)
    page = _INTRODUCTION
    page += "".join(_row(instrument, users[instrument]) for instrument in sorted(users, key=lambda each: each.name))
    page += _NOTES.format(limit=LIMIT)
    for setting in table():
        if setting.name in _SETTINGS:
            variables = ", ".join(f"`{name}`" for name in setting.metadata["variables"])
            default = f"`{setting.default}`" if setting.default else ""
            page += f"| `{setting.name}` | {variables} | {default} | {setting.metadata['help']} |\n"
    return page


def _row(instrument: Instrument, patches: list[str]) -> str:
    links = ", ".join(f"[`{name}`]({link(name)})" for name in patches)
    names = dict.fromkeys((*instrument.attributes, *instrument.learned))
    attributes = ", ".join(f"`{name}`" for name in names)
    buckets = ", ".join(f"{boundary:g}" for boundary in instrument.boundaries) or (
        "none: a counter" if instrument.monotonic else "none: an up-down counter"
    )
    cells = (f"`{instrument.name}`", f"`{instrument.unit}`", links, instrument.description, attributes, buckets)
    return f"| {' | '.join(cells)} |\n"
