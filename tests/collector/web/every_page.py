"""Every page that there is, with something on it: for what has to hold on all of them."""

from __future__ import annotations

import time

from starlette.applications import Starlette

from causal_otel.collector import web
from causal_otel.collector.reading import Reading
from causal_otel.collector.security import Access, login_routes
from causal_otel.collector.tokens import Tokens
from causal_otel.collector.troubles import Trouble
from causal_otel.collector.web.addresses import operation_address, service_address
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_causes import causes
from tests.collector.web.sample_logs import shop_logs
from tests.collector.web.sample_traces import Builder, shop
from tests.collector.web.sites import status_document

__all__ = ["PAGES", "SHOP", "every_page"]

SHOP, OTHER, DEEP = "5b8aa5a2d2c872e8321cf37308d69df2", "0123456789abcdef0123456789abcdef", "de" * 16
RUNS = "4e" * 16
LONG, PATH = "a-service-with-quite-a-long-name-1", "GET /a/rather/long/{path}/with/many/{segments} " * 2
PAGES = {
    "search": "/?lookback=1h",
    "search-nothing": "/?lookback=1h&service=nobody",
    "operations": "/operations?lookback=1h",
    "errors": "/errors?lookback=1h",
    "error-group": "/error?lookback=1h&type=error",
    "runtime": "/runtime?lookback=1h",
    "operation": "/operation?service=orders&operation=POST+%2Forders&kind=server&lookback=24h",
    "operation-long": operation_address(LONG, PATH, kind="server", lookback="24h"),
    "operation-nothing": "/operation?service=nobody&operation=",
    "operation-which": "/operation",
    "service": service_address(LONG, lookback="24h", version="none", against="9"),
    "service-nothing": "/service?service=nobody",
    "search-box": "/?service=gateway&start=2026-01-01&end=2099-01-01&shortest=1ms",
    "search-beside": "/?service=gateway&start=2026-01-01&end=2099-01-01&beside=service%3Dgateway%26shortest%3D600ms",
    "different": "/different?lookback=1h&box.shortest=600ms",
    "map": "/map?lookback=1h",
    "live": "/live",
    "status": "/status",
    "import": "/import",
    "trace": f"/trace/{SHOP}",
    "trace-span": f"/trace/{SHOP}?span={Builder.id(15)}&critical=answer&find=card",
    "trace-deep": f"/trace/{DEEP}?span={Builder.id(30)}",
    "trace-zoomed": f"/trace/{SHOP}?from=100000000&to=200000000&hide=payments&hide-kind=internal&shortest=1ms",
    "trace-runs": f"/trace/{RUNS}?runs={Builder.id(2)}",
    "trace-flame": f"/trace/{SHOP}?tab=flame",
    "trace-operations": f"/trace/{DEEP}?tab=operations",
    "trace-logs": f"/trace/{DEEP}?tab=logs",
    "compare": f"/compare?a={SHOP}&b={OTHER}",
    "compare-choose": "/compare",
    "compare-groups": "/compare?a.service=gateway&b.service=gateway&b.shortest=600ms",
    "compare-groups-choose": "/compare?groups=1",
    "live-filtered": "/live?service=gateway&operation=POST&shortest=1ms&first=worst",
    "keys": "/keys",
    "login": "/login",
    "error": "/nowhere",
    "no-trace": f"/trace/{'ab' * 16}",
    "no-id": "/jump?trace=nothing",
}

TROUBLES = [
    Trouble("error", f"Spans cannot be kept now: /var/lib/{'a-directory-with-a-long-name/' * 8}: the disk is full"),
    Trouble("warn", "A clock is wrong: 1,200 spans say that they start over an hour from now", 1.8e9),
]


def deep(start: int) -> Builder:
    """A trace that is thirty deep, whose names and services are long."""
    made = Builder(DEEP, start)
    for number in range(30):
        made.add(
            f"a-service-with-quite-a-long-name-{number % 3}", "GET /a/rather/long/{path}/with/many/{segments} " * 2,
            number or None, number, 200 - 2 * number, "server" if number % 2 else "client",
            a__key=f"{'unbroken' * 40}{number}", error="failed" if number == 29 else None,
        )  # fmt: skip
    return made


def runs(start: int) -> Builder:
    """A trace of loops, of calls with long names and of short ones."""
    made = Builder(RUNS, start)
    made.add("web", "GET /", None, 0, 1000, "server")
    for number in range(60):
        name = f"SELECT {'a_table_with_a_long_name ' * 4}" if number < 40 else "GET"
        made.add(
            "web", name, 1, 10 * number, 9, "client", error="failed" if number % 9 == 8 else None,
            db__system__name="postgresql", db__query__text="SELECT 1 FROM t WHERE id = $1",
        )  # fmt: skip
    return made


def every_page(*, empty: bool = False, troubled: bool = False) -> Starlette:
    """All pages over some traces, or over none; of a collector that is in trouble, or not."""
    now = time.time_ns() - 10**9
    traces = (
        []
        if empty
        else [shop(start=now), shop(OTHER, now, slower=1.6), deep(now).message, runs(now).message, causes(now)]
    )
    reader = MemoryReader([] if empty else traces)
    for trace in () if empty else (SHOP, DEEP):
        reader.records[bytes.fromhex(trace)] = shop_logs(now)
    routes = web.routes(Reading(reader), status=status_document, put=None)
    app = Starlette(routes=[*login_routes(Access(Tokens("t"))), *routes], exception_handlers=web.EXCEPTION_HANDLERS)
    app.state.troubles = lambda: TROUBLES if troubled else []
    return app
