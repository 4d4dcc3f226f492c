"""What is measured of an installation's operations, and where that goes: chosen once, by :func:`measuring`."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import metrics

from causal_otel._internal import faults
from causal_otel.export.shutdown_hooks import Termination
from causal_otel.export.telemetry import measures

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource

    from causal_otel.instrument.declaration import Patch
    from causal_otel.metrics.cells import Cells
    from causal_otel.metrics.observer import Metrics
    from causal_otel.settings import Settings

__all__ = ["Measuring", "measuring"]


class _Output(Protocol):
    """Where metrics go: a ``MetricsPipeline`` or a ``Feed``."""

    def start(self) -> None: ...

    def meters(self) -> MeterProvider | None: ...

    def begin_flush(self) -> Callable[[float], bool]: ...

    def flush_with(self, action: Callable[[], object]) -> None: ...

    def close(self) -> None: ...


class Measuring:
    """Measures operations, from :meth:`start` until :meth:`close`.

    Args:
        cells: what is measured.
        output: where that goes.

    Attributes:
        pools: measures pools of connections.
        loops: measures event loops.
    """

    _termination: Termination | None = None

    def __init__(self, cells: Cells, output: _Output) -> None:
        from causal_otel.metrics.loops import Loops
        from causal_otel.metrics.pools import Pools

        self._cells = cells
        self.pools = Pools(cells)
        self.loops = Loops(cells)
        self._output = output
        self.begin_flush, self.flush_with = output.begin_flush, output.flush_with

    def start(self) -> None:
        """Begin to measure. Never raises."""
        try:
            self._output.start()
        except Exception:
            faults.report("metrics: start")
        # Where spans are exported by us, their handler is there already, and does this as well.
        self._termination = Termination(partial(self.flush_with, lambda: None))

    def meters(self) -> MeterProvider | None:
        """The provider whose metrics go the same way, for the instruments of others; None: it has not been started."""
        return self._output.meters()

    def metrics(self, patch: Patch) -> Metrics | None:
        """What is told of the operations of ``patch``; None, if it declares no metrics."""
        from causal_otel.metrics.observer import Metrics

        return Metrics(self._cells, patch.metrics) if patch.metrics else None

    def close(self) -> None:
        """Export what is left, and end."""
        if self._termination is not None:
            self._termination.remove()
        self._output.close()

    def __str__(self) -> str:
        return str(self._output)


def measuring(
    settings: Settings,
    given: MeterProvider | None,
    resource: Callable[[], Resource],
    redact: Callable[[str, Any], Any],
) -> Measuring | None:
    """What the settings ask for; None: nothing is measured, or the user's own provider has raised.

    What that takes to import is imported only where something is measured.

    Args:
        settings: of the installation.
        given: the meter provider that ``install()`` was given.
        resource: makes what the metrics are about, if they are exported by us.
        redact: takes secrets out of the value of an attribute, given its name.

    Raises:
        SettingError: a setting of the export is not allowed.
    """
    refused = settings.metrics_exporter == "none" and "metrics_exporter" in settings.given
    theirs = _provider_in_place() if given is None and not refused else given
    if theirs is None and settings.metrics_exporter == "none":
        return None
    from causal_otel.metrics.cells import Cells

    cells = Cells(redact)
    if theirs is None:
        from causal_otel.metrics.pipeline import MetricsPipeline
        from causal_otel.metrics.settings import for_metrics

        return Measuring(cells, MetricsPipeline(for_metrics(settings), resource(), cells))
    from causal_otel.metrics.conventions import CELERY_PROCESS, HTTP_SERVER
    from causal_otel.metrics.feed import Feed
    from causal_otel.metrics.loops import STALLS
    from causal_otel.metrics.pools import LEVELS

    try:
        return Measuring(cells, Feed(theirs, cells, [HTTP_SERVER.active, CELERY_PROCESS.counted, STALLS, *LEVELS]))
    except Exception:
        faults.report("metrics: your meter provider")
        return None


def _provider_in_place() -> MeterProvider | None:
    """The meter provider that somebody else has made global, if any; not one of the API, which measures nothing."""
    try:
        provider = metrics.get_meter_provider()
    except Exception:  # of the entry point that OTEL_PYTHON_METER_PROVIDER names, or there is none of that name
        faults.report("metrics: the global meter provider")
        return None
    ours = sys.modules.get("causal_otel.metrics.pipeline")
    if not measures(provider) or (ours is not None and ours.is_ours(provider)):
        return None
    return provider
