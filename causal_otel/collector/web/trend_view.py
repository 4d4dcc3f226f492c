"""What pages of figures over a time have alike: the time, the service, pages of rows, and small drawings of trends."""

from __future__ import annotations

from dataclasses import dataclass
from time import time_ns
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from causal_otel.collector.figures import Selected
from causal_otel.collector.trends.periods import Period
from causal_otel.collector.units import format_duration
from causal_otel.collector.web.forms import LOOKBACKS
from causal_otel.collector.web.templating import utc

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from starlette.requests import Request

__all__ = ["Bar", "TrendView", "bars", "seen"]

_DEFAULT_LOOKBACK = "24h"
_HEIGHT = 20
_MOST_PAGES = 10_000


class Bar(NamedTuple):
    """A bar of a trend: where it is, of what height, in a drawing of 4 units a step and 20 units high."""

    x: int
    y: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class TrendView:
    """Which rows are shown, as the address has it.

    Attributes:
        path: of the page.
        service: only of this one; empty: of all.
        lookback: a key of :data:`~causal_otel.collector.web.forms.LOOKBACKS`.
        sort: the column that the rows are in the order of, the largest first.
        number: of the page, from 1 on.
        now: Unix time in nanoseconds.
    """

    path: str
    service: str
    lookback: str
    sort: str
    number: int
    now: int

    @classmethod
    def read(cls, request: Request, sorts: Collection[str], default: str) -> TrendView:
        """The state; what the address says that does not exist is as by default."""
        given = request.query_params.get
        lookback, sort, number = given("lookback", ""), given("sort", ""), given("page", "")
        return cls(
            path=request.url.path,
            service=given("service", ""),
            lookback=lookback if lookback in LOOKBACKS else _DEFAULT_LOOKBACK,
            sort=sort if sort in sorts else default,
            number=int(number) if number.isascii() and number.isdecimal() and 0 < len(number) < 6 else 1,
            now=time_ns(),
        )

    @property
    def period(self) -> Period:
        """The time that it is about."""
        return Period(self.now - LOOKBACKS[self.lookback][1], self.now)

    @property
    def selected(self) -> Selected:
        """The series that it is about."""
        return Selected(self.service or None)

    def address(self, **changes: str | int) -> str:
        """The page's address after changes."""
        given = {"service": self.service, "lookback": self.lookback, "sort": self.sort, "page": self.number, **changes}
        return f"{self.path}?{urlencode({name: value for name, value in given.items() if value and value != 1})}"

    def rows(self, count: int, size: int) -> tuple[slice, int]:
        """Which of so many rows are on this page, and how many pages there are."""
        pages = max(1, -(-count // size))
        first = (min(self.number, pages) - 1) * size
        return slice(first, first + size), min(pages, _MOST_PAGES)


def seen(at: int, period: Period, form: str = "%b %d %H:%M") -> str:
    """When a step begins, no more exactly than that is known: ``Nov 22 14:00`` or ``Nov 22``."""
    return utc(at, form if period.step == "hour" else "%b %d")


def bars(amounts: Sequence[int], period: Period, *, time: bool = False) -> list[Bar]:
    """A trend as bars, the highest as high as the drawing; none where there is nothing.

    Args:
        amounts: of each step.
        period: whose steps these are.
        time: whether they are nanoseconds, and no counts.
    """
    highest = max(amounts, default=0)
    drawn = []
    for place, (at, amount) in enumerate(zip(period.steps, amounts, strict=True)):
        if amount > 0:
            shown = format_duration(amount) if time else f"{amount:,}"
            height = round(max(1.5, amount / highest * (_HEIGHT - 2)), 1)
            drawn.append(Bar(4 * place, _HEIGHT - 1 - height, height, f"{seen(at, period)}: {shown}"))
    return drawn
