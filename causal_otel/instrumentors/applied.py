"""The instrumentors of an installation, put to work together and undone together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.instrumentors.at_work import AtWork

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrumentors.choice import Choice
    from causal_otel.instrumentors.provider import Providers
    from causal_otel.instrumentors.status import InstrumentorStatus

__all__ = ["AppliedInstrumentors"]


class AppliedInstrumentors:
    """Applies the chosen ones, each when its library is imported.

    Args:
        choice: which.
        providers: where their data goes.
        warn: is told what concerns all of them, in a sentence.
    """

    def __init__(self, choice: Choice, providers: Providers, warn: Callable[[str], None]) -> None:
        self._others = choice.others
        self._at_work = [AtWork(chosen, providers.arguments(), warn) for chosen in choice.chosen]

    def apply(self) -> None:
        """Begin to wait for the libraries; those that are there are instrumented at once."""
        for each in self._at_work:
            each.apply()

    def undo(self) -> None:
        """Undo exactly those that have been applied here."""
        for each in reversed(self._at_work):
            each.undo()

    def status(self) -> tuple[InstrumentorStatus, ...]:
        """What became of each, of those that are not applied as well."""
        return (*(each.status for each in self._at_work), *self._others)
