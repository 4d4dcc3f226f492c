"""The instrumentors of an installation, put to work together and undone together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.metrics import NoOpMeterProvider

from causal_otel.engine.provider import TracerProvider as OurProvider
from causal_otel.instrumentors.at_work import AtWork
from causal_otel.instrumentors.provider import InstrumentorProvider

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from causal_otel.instrument.baggage import BaggageBorder
    from causal_otel.instrumentors.choice import Choice
    from causal_otel.instrumentors.status import InstrumentorStatus

__all__ = ["AppliedInstrumentors"]


class AppliedInstrumentors:
    """Applies the chosen ones, each when its library is imported.

    Args:
        choice: which.
        provider: where their spans go.
        meters: where their metrics go; None: nowhere.
        warn: is told what concerns all of them, in a sentence.
        border: to which hosts baggage may go.
        roots: whether what is sent outside any span is recorded.
    """

    def __init__(
        self,
        choice: Choice,
        provider: TracerProvider,
        meters: MeterProvider | None,
        warn: Callable[[str], None],
        border: BaggageBorder,
        *,
        roots: bool,
    ) -> None:
        self._others = choice.others
        self._ours: InstrumentorProvider | None = None
        if isinstance(provider, OurProvider):
            self._ours = InstrumentorProvider(provider, border, roots=roots)
        providers = {
            "tracer_provider": self._ours or provider,
            "meter_provider": meters or NoOpMeterProvider(),
        }
        self._at_work = [AtWork(chosen, providers, warn) for chosen in choice.chosen]

    def apply(self) -> None:
        """Begin to wait for the libraries; those that are there are instrumented at once."""
        for each in self._at_work:
            each.apply()

    def undo(self) -> None:
        """Undo exactly those that have been applied here."""
        for each in reversed(self._at_work):
            each.undo()
        if self._ours is not None:
            self._ours.active = False

    def status(self) -> tuple[InstrumentorStatus, ...]:
        """What became of each, of those that are not applied as well."""
        return (*(each.status for each in self._at_work), *self._others)
