"""The search page with its heat map, and what is different in a box of it, over the store of :mod:`.bench_search`.

``python -m benchmarks.collector.bench_heat`` prints the 95th percentiles; the variables are those of that module.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.testclient import TestClient

from benchmarks.collector.bench_search import DAYS, QUESTIONS, SPANS, Ours, p95, stores, timed
from benchmarks.collector.generate import OPERATIONS, SERVICES, USERS
from causal_otel.collector import web
from causal_otel.collector.different import differences
from causal_otel.collector.query import Query
from causal_otel.collector.reading import Reading
from causal_otel.collector.web.forms import SearchForm

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]

_HOUR = 3600 * 10**9


def _operation(rng: random.Random) -> dict[str, str]:
    service = rng.choice(SERVICES)
    return {"service": service, "operation": f'"{rng.choice(OPERATIONS[service])}"'}


KINDS: dict[str, Callable[[random.Random], dict[str, str]]] = {
    "nothing": lambda _: {},
    "service": lambda rng: {"service": rng.choice(SERVICES)},
    "service, operation": _operation,
    "service, errors": lambda rng: {"service": rng.choice(SERVICES), "errors": "1"},
    "service, duration": lambda rng: {"service": rng.choice(SERVICES), "shortest": f"{rng.randrange(100, 900)}ms"},
    "errors": lambda _: {"errors": "1"},
    "service, user.id": lambda rng: {"service": rng.choice(SERVICES), "q": f"user.id=user-{rng.randrange(USERS)}"},
    "status>=500": lambda _: {"q": "http.response.status_code>=500"},
}
LOOKBACKS = ("1h", "24h", "7d", "30d")


def main() -> None:
    """Print what each kind of search takes."""
    with stores(Ours) as made:
        reader = made[0].reader
        routes = web.routes(Reading(reader), status=dict, put=None)
        client = TestClient(Starlette(routes=routes))
        print(f"{SPANS} spans over {DAYS} days; p95 in ms of the page, of the map, and how many maps were complete")
        for name, kind in KINDS.items():
            for lookback in LOOKBACKS:
                rng = random.Random(7)
                asked = [f"/?{urlencode({**kind(rng), 'lookback': lookback})}" for _ in range(QUESTIONS)]
                sizes: list[int] = []
                pages = timed(lambda address: sizes.append(len(client.get(address).content)), asked)  # noqa: B023
                maps, complete = _maps(reader, kind, lookback)
                print(
                    f"{name}, {lookback}: {p95(pages) * 1000:.0f} {p95(maps) * 1000:.0f}"
                    f" {complete}/{QUESTIONS}, {max(sizes) / 1000:.0f} kB",
                    flush=True,
                )
        now = time.time_ns()
        for hours in (1, 24, 30 * 24):
            whole = Query(now - hours * _HOUR, now, service=SERVICES[0])
            part = Query(now - hours * _HOUR, now, service=SERVICES[0], shortest=200 * 10**6)
            begun = time.perf_counter()
            found = differences(reader, part, whole)
            took = time.perf_counter() - begun
            print(
                f"different, {hours} h: {took * 1000:.0f} ms, {found.inside} beside {found.outside}, {found.complete}"
            )


def _maps(reader: Any, kind: Callable[[random.Random], dict[str, str]], lookback: str) -> tuple[list[float], int]:
    """How long the maps alone take, and how many were complete."""
    rng, now = random.Random(7), time.time_ns()
    complete: list[bool] = []
    asked = [SearchForm.read({**kind(rng), "lookback": lookback}).query(now) for _ in range(QUESTIONS)]
    times = timed(lambda query: complete.append(reader.heat(query, seconds=0.1).complete), asked)
    return times, sum(complete)


if __name__ == "__main__":
    main()
