"""What senders write, on every page: markup in each of their fields is text, and nothing of it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.applications import Starlette

from causal_otel.collector import web
from causal_otel.collector.query import TraceLogs
from causal_otel.collector.reading import Reading
from causal_otel.collector.troubles import Trouble
from causal_otel.collector.web.addresses import operation_address, service_address, with_parameters
from tests.collector.oracle import MemoryReader
from tests.collector.records import log_request, record
from tests.collector.web.every_page import PAGES
from tests.collector.web.sample_traces import ATTACK, Builder, pairs
from tests.collector.web.sites import status_document

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

_TRACE, _OTHER = "66" * 16, "67" * 16
_KEY = ATTACK.replace(".", "_")
"""An attribute's name; dots are between its parts."""
_OPERATION = {"service": ATTACK, "operation": ATTACK, "kind": "client"}
_SEARCH = {"lookback": "1h", **_OPERATION, "tags": f'"{ATTACK}"=x', "q": f'"{ATTACK}'}
_BOX = {"lookback": "1h", "service": f"{ATTACK}4"}
_OPEN = urlencode({"span": ",".join(map(Builder.id, range(1, 9))), "runs": Builder.id(9), "find": ATTACK[:60]})

_ADDRESSES = {
    "search": "/?lookback=1h",
    "search-filled": f"/?{urlencode(_SEARCH)}",
    "search-box": f"/?{urlencode({**_BOX, 'shortest': '1ms'})}",
    "search-beside": f"/?{urlencode({**_BOX, 'beside': urlencode({'service': ATTACK, 'q': ATTACK})})}",
    "different": f"/different?{urlencode({**_BOX, 'box.shortest': '9ms'})}",
    "operations": "/operations?lookback=1h",
    "operations-filtered": f"/operations?{urlencode(_OPERATION)}",
    "operation": operation_address(ATTACK, ATTACK, lookback="24h"),
    "operation-compared": operation_address(ATTACK, ATTACK, lookback="24h", version=ATTACK, against="none"),
    "operation-odd": operation_address(ATTACK, ATTACK, kind=ATTACK, system=ATTACK, lookback=ATTACK, moment=ATTACK),
    "service": service_address(ATTACK, lookback="24h"),
    "service-odd": service_address(ATTACK, version=ATTACK, against=ATTACK, start=ATTACK, end=ATTACK),
    "errors": "/errors?lookback=24h",
    "errors-filtered": f"/errors?{urlencode(_OPERATION)}",
    "error": with_parameters("/error", {"lookback": "24h", "type": ATTACK[:100], "frame": f"{ATTACK}:3 f()"[:100]}),
    "error-nowhere": with_parameters("/error", {"type": ATTACK, "frame": ATTACK}),
    "runtime": "/runtime?lookback=24h",
    "runtime-filtered": f"/runtime?{urlencode(_OPERATION)}",
    "map": "/map?lookback=1h",
    "map-focus": with_parameters("/map", {"lookback": "1h", "focus": ATTACK, "find": ATTACK[:40]}),
    "map-odd": with_parameters("/map", {"lookback": ATTACK, "focus": ATTACK + "x", "find": ATTACK}),
    "live": "/live",
    "live-filtered": with_parameters("/live", {"service": ATTACK, "operation": ATTACK, "shortest": ATTACK}),
    "trace": f"/trace/{_TRACE}",
    "trace-open": f"/trace/{_TRACE}?{_OPEN}",
    "trace-hidden": f"/trace/{_TRACE}?{urlencode({'hide': ATTACK})}",
    "trace-flame": f"/trace/{_TRACE}?tab=flame",
    "trace-operations": f"/trace/{_TRACE}?tab=operations",
    "trace-logs": f"/trace/{_TRACE}?tab=logs",
    "no-trace": f"/trace/{'ab' * 16}",
    "compare": f"/compare?a={_TRACE}&b={_OTHER}",
    "compare-choose": "/compare",
    "compare-groups": f"/compare?{urlencode({'a.service': ATTACK, 'b.service': ATTACK, 'b.shortest': '60ms'})}",
    "compare-groups-odd": f"/compare?{urlencode({'a.q': ATTACK, 'b.service': ATTACK, 'b.lookback': ATTACK})}",
    "jump": with_parameters("/jump", {"trace": ATTACK}),
    "status": "/status",
    "import": "/import",
    "keys": "/keys",
    "nowhere": f"/nowhere?{urlencode({'x': ATTACK})}",
}
_SILENT = {"trace-hidden", "no-trace", "status", "import", "keys", "nowhere", "jump", "search-box"}
"""Pages that need not show any of it."""


def _trace(trace_id: str, start: int, slower: float = 1) -> TracesData:
    """Spans of every kind, each of whose texts attacks."""
    made = Builder(trace_id, start)
    tags: dict[str, Any] = {
        _KEY: ATTACK, "causal__pool__wait": 0.02, "causal__pool__size": 4, "causal__pool__waiting": 3,
        "causal__block__frame": ATTACK, "causal__cancelled": True, "causal__task__unawaited": True,
        "causal__task__name": ATTACK, "causal__task__id": 7, "causal__code__origin": ATTACK, "server__address": ATTACK,
        "db__namespace": ATTACK, "messaging__destination__name": ATTACK, "url__full": "javascript:window.pwned=1",
        "db__query__text": ATTACK, "error__type": ATTACK, "http__route": ATTACK, "customer": ATTACK,
    }  # fmt: skip
    made.add(ATTACK, ATTACK, None, 0, 400 * slower, "server", ATTACK, **tags, http__request__method=ATTACK)
    made.add(ATTACK, ATTACK, 1, 1, 100 * slower, "client", ATTACK, **tags, db__system__name=ATTACK)
    made.add(ATTACK, ATTACK, 1, 120, 40, "client", ATTACK, **tags, http__request__method="GET")
    made.add(ATTACK, ATTACK, 1, 170, 10, "producer", ATTACK, **tags, messaging__system=ATTACK)
    made.add(f"{ATTACK}2", ATTACK, 4, 200, 40, "consumer", ATTACK, **tags, messaging__system=ATTACK,
             causal__queue__wait=0.02)  # fmt: skip
    made.add(ATTACK, "loop blocked", 1, 250, 30, "internal", ATTACK, **tags)
    made.add(f"{ATTACK}2", ATTACK, 99, 250, 30, "server", ATTACK)
    made.add(ATTACK, ATTACK, 8, 250, -30, "server", ATTACK)
    for number in range(8):
        made.add(ATTACK, f"{ATTACK}3", 1, 300 + 10 * number, 8, "client", db__system__name="postgresql",
                 db__query__text=ATTACK, causal__code__origin=ATTACK)  # fmt: skip
    stack = f'Traceback (most recent call last):\n  File "{ATTACK}", line 3, in {ATTACK}\nE: {ATTACK}'
    fault = {"exception.type": ATTACK, "exception.message": ATTACK, "exception.stacktrace": stack, ATTACK: ATTACK}
    for group in made.message.resource_spans:
        group.resource.attributes.extend(pairs({ATTACK: ATTACK}))
        version = next(pair for pair in group.resource.attributes if pair.key == "service.version")
        version.value.string_value = ATTACK
        group.schema_url = ATTACK
        for span in group.scope_spans[0].spans:
            span.trace_state = ATTACK
            if span.status.message:
                span.events.add(name="exception", time_unix_nano=start, attributes=pairs(fault))
            span.links.add(
                trace_id=bytes.fromhex(_OTHER if trace_id == _TRACE else _TRACE), span_id=bytes.fromhex(made.id(1)),
                trace_state=ATTACK, attributes=pairs({ATTACK: ATTACK, "causal.link": ATTACK}),
            )  # fmt: skip
        group.scope_spans[0].scope.name = group.scope_spans[0].scope.version = ATTACK
    return made.message


@pytest.fixture(scope="module")
def attacked() -> Starlette:
    """All pages over such spans, of a collector that is in trouble."""
    now = time.time_ns() - 10**9
    reader = MemoryReader([_trace(_TRACE, now), _trace(_OTHER, now, slower=2)])
    for number in range(40):
        quick = Builder(f"{number + 1:032x}", now)
        attacks: dict[str, Any] = {"customer": ATTACK, _KEY: number} if number % 4 else {}
        quick.add(f"{ATTACK}4", ATTACK, None, 0, 20 if number % 4 else 2, "server", **attacks)
        reader.add(quick.message)
    records = log_request(
        record(ATTACK, span=2, at=now, tags={ATTACK: ATTACK}), record(ATTACK, span=99, at=now),
        service=ATTACK, logger=ATTACK,
    )  # fmt: skip
    for trace_id in (_TRACE, "ab" * 16):
        reader.records[bytes.fromhex(trace_id)] = TraceLogs(LogsData.FromString(records))
    document = status_document(sampling={"file": ATTACK, "error": ATTACK, "warnings": [ATTACK]})
    app = Starlette(
        routes=web.routes(Reading(reader), status=lambda: document, put=None), exception_handlers=web.EXCEPTION_HANDLERS
    )
    app.state.troubles = lambda: [Trouble("error", ATTACK)]
    return app


def test_no_page_is_left_out() -> None:
    """Whatever has an address of its own is attacked."""
    of_all = {path.partition("?")[0] for path in PAGES.values()} - {"/login"}
    attacked = {path.partition("?")[0] for path in _ADDRESSES.values()}
    assert {path for path in of_all if "/trace/" not in path} <= attacked


@pytest.mark.long
@pytest.mark.parametrize("name", _ADDRESSES)
def test_what_spans_say_is_text(
    attacked: Starlette, serve: Callable[[ASGIApp], str], open_page: OpenPage, name: str
) -> None:
    """Nothing runs, nothing becomes an element, and no link leads elsewhere; the text itself can be read."""
    base = serve(attacked)
    page = open_page(base + _ADDRESSES[name], expected=("404", "400"))
    if not name.startswith("live"):
        page.wait_for_load_state("networkidle")
    text = page.evaluate("document.querySelector('main').textContent")
    assert "<img src=x" in text or name in _SILENT
    assert "<img src=x" in page.locator(".troubles").inner_text()
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.querySelectorAll('img, main script:not([type]), [onload], [onerror]').length") == 0
    links = page.evaluate("[...document.querySelectorAll('a')].map((link) => link.href.baseVal ?? link.href)")
    assert links
    assert [each for each in links if not each.startswith((f"{base}/", "/", "#", "?"))] == []
    assert [each for each in links if each.startswith("//")] == []
