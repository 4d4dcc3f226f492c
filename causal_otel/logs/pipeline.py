"""The export of log records, put together: a worker of its own beside that of the spans."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from causal_otel.logs.encoding import logs_signal
from causal_otel.logs.exporting import LogExport

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.resources import Resource

    from causal_otel.export.signal import Signal
    from causal_otel.export.status import ExportStatus
    from causal_otel.export.worker import Worker
    from causal_otel.settings import Settings

__all__ = ["LogPipeline"]


class LogPipeline:
    """Exports records from now on, until :meth:`close`.

    Args:
        settings: which level, and the limits of attributes.
        resource: what the process is.
        make_worker: makes a worker for a signal, with the queue, the times and the spool that the settings say.
    """

    def __init__(self, settings: Settings, resource: Resource, make_worker: Callable[[Signal], Worker]) -> None:
        signal = logs_signal(settings.attribute_count_limit, settings.attribute_value_length_limit)
        self._worker = make_worker(signal)
        self._worker.recover()
        level: int = getattr(logging, settings.logs_level.upper())
        self._export = LogExport(self._worker.take, resource, level)  # type: ignore[arg-type]  # a queue of log records

    def flush(self, timeout: float) -> bool:
        """Export what was logged so far, in so many seconds; whether all of it was delivered."""
        return self._worker.force_flush(int(timeout * 1000))

    def leave(self, timeout: float) -> None:
        """Export what is left, as at the end of the process, which may go on all the same."""
        self._worker.leave(timeout)

    def close(self) -> None:
        """Export what is left; take nothing from now on."""
        self._export.undo()
        self._worker.shutdown()

    def status(self) -> ExportStatus:
        """What has become of the records of this process."""
        return self._worker.status()
