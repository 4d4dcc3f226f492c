"""``docs/reference/settings.md``, from the table of settings."""

from __future__ import annotations

from causal_otel.settings import Settings, table

__all__ = ["reference"]

_INTRODUCTION = """\
# Settings

Written by `make docs`; do not edit.

An argument of `install()` beats a variable, a variable OpenTelemetry's configuration file, and that
`[tool.causal_otel]` in `pyproject.toml`: see [Configure](../how-to/configure.md). Of several variables, the first one
that is set and not empty counts. A value that is not allowed stops `install()` with a message that names the variable,
or the file and the key, the value and what is allowed. Times are in seconds; only the `OTEL_BSP_*` variables and
`OTEL_METRIC_EXPORT_INTERVAL` are in milliseconds. For the export of metrics, `OTEL_EXPORTER_OTLP_METRICS_*` take the
place of `OTEL_EXPORTER_OTLP_TRACES_*`.

| argument, key in `pyproject.toml` | variables | default | allowed | what it does |
|---|---|---|---|---|
"""


def reference() -> str:
    """The page, in Markdown."""
    page = _INTRODUCTION
    for setting in table():
        variables = ", ".join(f"`{name}`" for name in setting.metadata["variables"])
        default = getattr(Settings(), setting.name)
        shown = ",".join(default) if isinstance(default, tuple) else str(default).lower()
        page += (
            f"| `{setting.name}` | {variables} | {'' if default in (None, '', {}, ()) else f'`{shown}`'} "
            f"| {setting.metadata['kind'].allowed} | {setting.metadata['help']} |\n"
        )
    return page
