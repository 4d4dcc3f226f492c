"""A planted week in which a version is slow, and what pages must say of it."""

from __future__ import annotations

import re

from causal_otel.collector.store.histogram import BOUNDS, bucket
from causal_otel.collector.units import format_duration
from causal_otel.collector.web.addresses import operation_address
from tests.collector.web.slow_version import ROUTE, deployed
from tests.collector.web.trend_pages import Week, table, text

__all__ = ["PAGE", "assert_told", "quantile"]

PAGE = operation_address("shop", ROUTE, kind="server", system="")


def quantile(lengths: list[int], part: float) -> str:
    """How long a part of them took at the most, as pages say it."""
    place = next(place for place in range(len(lengths)) if place + 1 >= part * len(lengths))
    return format_duration(min(BOUNDS[bucket(lengths[place])], lengths[-1]))


def _means(week: Week, start: int, end: int) -> dict[str, int]:
    """Nanoseconds that a request spends on what its query says, on average, and on all."""
    told: dict[str, list[int]] = {"pool wait": [], "server": [], "fetch": [], "all": []}
    for message in week.messages:
        for group in message.resource_spans:
            for one in group.scope_spans[0].spans:
                if start <= one.start_time_unix_nano < end:
                    for pair in one.attributes:
                        name = {"causal.pool.wait": "pool wait"}.get(pair.key, pair.key.removeprefix("causal."))
                        if name in told:
                            told[name].append(round(pair.value.double_value * 1e9))
                    if one.name == ROUTE:
                        told["all"].append(one.end_time_unix_nano - one.start_time_unix_nano)
    return {name: sum(values) // len(told["all"]) for name, values in told.items()}


def assert_told(html: str, week: Week) -> None:
    """The page tells that the new version waits for connections, and by how much."""
    begun = deployed(week.now)
    before, after = _means(week, 0, begun), _means(week, begun, week.now)
    (said,) = re.findall(r'<p class="verdict">([^<]*)</p>', html)
    assert format_duration(before["all"]) in said
    assert format_duration(after["all"]) in said
    assert re.search(r"(9\d|10\d) % of that is pool wait\.", said)
    rows = table(html, "Where the difference is made")
    assert rows[0][0] == "pool wait"
    for name in ("pool wait", "server", "fetch"):
        (row,) = [row for row in rows if row[0] == name]
        assert row[1:3] == [format_duration(before[name]), format_duration(after[name])]
    foot = text(html.partition("<tfoot>")[2].partition("</tfoot>")[0])
    assert foot.endswith(f"+{format_duration(after['all'] - before['all'])} 100 %")
