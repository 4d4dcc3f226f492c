"""The comparison on the pages of operations and services: two versions, or before and after a moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from causal_otel.collector.trends.sides import around, between_versions, days_around
from causal_otel.collector.web.templating import utc
from causal_otel.collector.web.trend_state import version_name
from causal_otel.collector.web.trend_views import says_of_change

if TYPE_CHECKING:
    from causal_otel.collector.figures import Selected, Sums
    from causal_otel.collector.trends.changes import Change
    from causal_otel.collector.trends.window import Window
    from causal_otel.collector.web.trend_state import TrendState

__all__ = ["Comparing", "comparing"]


@dataclass(frozen=True, slots=True)
class Comparing:
    """What is compared.

    Attributes:
        change: what changed.
        before: what the first side is called.
        after: the other.
        says: all of it in a sentence.
        moment: before and after which; None: versions are compared.
        days: of which days callers and callees are, in a sentence; empty: of all that is shown.
    """

    change: Change
    before: str
    after: str
    says: str
    moment: int | None
    days: str


def comparing(reader: Sums, selected: Selected, state: TrendState, window: Window) -> tuple[Comparing | None, str]:
    """The comparison that an address asks for; None and the reason if it cannot be made, or none if it asks for none.

    Args:
        reader: of traces.
        selected: the series, of all versions.
        state: what is asked for. Of versions and a moment, versions win.
        window: the time that is shown.
    """
    version, against = version_name(state.version), version_name(state.against)
    if against is not None and version is not None:
        if version == against:
            return None, "Choose two versions to compare them."
        change = between_versions(reader, selected, window, against, version)
        before, after = (f"version {name}" if name else "no version" for name in (against, version))
        says = says_of_change(change, f"{before[0].upper()}{before[1:]} took", f"{after} took")
        return Comparing(change, before, after, says, None, ""), ""
    try:
        moment = state.moment_in(window)
    except ValueError as error:
        return None, f"Before and after cannot be compared: {error}."
    if moment is None:
        return None, ""
    if version is not None:
        selected = replace(selected, version=version)
    change = around(reader, selected, window, moment)
    at = utc(moment, "%b %d %H:%M")
    says = says_of_change(change, f"Before {at} calls took", "since then")
    return Comparing(change, f"before {at}", f"since {at}", says, moment, _days(window, moment)), ""


def _days(window: Window, moment: int) -> str:
    days = days_around(window, moment)
    if days is None:
        return "Callers and what is called are counted by the day: choose a longer time to compare whole days."
    told = [f"{utc(start, '%b %d')} to {utc(end - 1, '%b %d')}" for start, end in days]
    return f"Callers and what is called are counted by the day: {told[0]} against {told[1]}."
