"""What a test calls, as numbers that are the same in every run: its figures, which a budget bounds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from causal_otel.testing.calls import OUTSIDE, is_external, is_query, is_timed, operation_above

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from causal_otel.causality.spans import CallSpan

__all__ = ["Figures", "figures"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one test calls.

    Attributes:
        queries: how many there are, by the request or task that makes them.
        external: how many calls of other services, messages included.
        spans: how many there are of any kind, but for those that are there only because something took long.
    """

    queries: Mapping[str, int] = field(default_factory=dict)
    external: int = 0
    spans: int = 0

    def __bool__(self) -> bool:
        return self.spans > 0

    def document(self) -> dict[str, Any]:
        """Them as JSON has them."""
        return {"queries": dict(sorted(self.queries.items())), "external": self.external, "spans": self.spans}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Figures:
        """From JSON.

        Raises:
            ValueError: it is no such document.
        """
        try:
            queries = {str(name): int(count) for name, count in document.get("queries", {}).items()}
            return cls(queries, int(document.get("external", 0)), int(document.get("spans", 0)))
        except (AttributeError, TypeError) as error:
            raise ValueError(str(error)) from None

    def most(self, other: Figures) -> Figures:
        """Of each number the greater one."""
        names = {*self.queries, *other.queries}
        queries = {name: max(self.queries.get(name, 0), other.queries.get(name, 0)) for name in names}
        return Figures(queries, max(self.external, other.external), max(self.spans, other.spans))

    def exceeds(self, budget: Figures) -> bool:
        """Whether any number is greater than the budget's."""
        return budget.most(self) != budget.most(budget)

    def rows(self, budget: Figures) -> Iterator[tuple[str, int, int]]:
        """What differs from a budget: what is counted, how often it may be, how often it is."""
        for name in sorted({*self.queries, *budget.queries}):
            yield f"queries of {name}", budget.queries.get(name, 0), self.queries.get(name, 0)
        yield "calls of other services", budget.external, self.external
        yield "spans", budget.spans, self.spans


def figures(spans: Iterable[CallSpan]) -> Figures:
    """The figures of a test's spans."""
    spans = [span for span in spans if not is_timed(span)]
    above = [operation_above(span) for span in spans if is_query(span)]
    return Figures(
        Counter(OUTSIDE if each is None else each.name for each in above), sum(map(is_external, spans)), len(spans)
    )
