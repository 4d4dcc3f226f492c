"""``services``: what has sent spans."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from pydantic import Field

from causal_otel.collector.mcp.answers import name
from causal_otel.collector.mcp.arguments import OfTime, Paged
from causal_otel.collector.mcp.statistics import statistics
from causal_otel.collector.mcp.tools.tool import Tool, capped

if TYPE_CHECKING:
    from causal_otel.collector.mcp.sources import Traces

__all__ = ["SERVICES"]

_MOST = 100


class _Services(OfTime, Paged):
    limit: int = Field(50, ge=1, le=_MOST, description="services a page")


def _answer(traces: Traces, wanted: _Services) -> str:
    page = wanted.page(SERVICES.name, wanted.limit, *wanted.time())
    found = statistics(traces, page.start, page.end, None)
    spans: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    operations: defaultdict[str, set[str]] = defaultdict(set)
    for each in found.operations:
        spans[each.service] += each.calls
        errors[each.service] += each.errors
        operations[each.service].add(each.operation)

    def row(service: str) -> dict[str, Any]:
        return {
            "service": name(service),
            "spans": spans[service],
            "errors": errors[service],
            "operations": len(operations[service]),
        }

    head: dict[str, Any] = {"counted": found.of}
    if not spans and found.complete:
        head["hint"] = (
            f"no service has sent spans {wanted.when}: try a longer last, such as 7d; if nothing is there at all, "
            "no program exports its spans here"
        )
    return page.answer(head, "services", sorted(spans), str, row)


SERVICES = Tool(
    "services",
    "List services",
    "List the services that have sent spans: name, spans, errors (failed spans), number of operations. "
    f"{capped(_MOST)} Next: operations(service) or errors(service).",
    _Services,
    _answer,
)
"""The tool."""
