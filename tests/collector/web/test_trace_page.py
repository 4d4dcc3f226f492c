from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.applications import Starlette
from starlette.testclient import TestClient

from causal_otel.collector import web
from causal_otel.collector.reading import Reading
from causal_otel.collector.receive import otlp_json
from causal_otel.collector.web import imports
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_traces import ATTACK, Builder, attack, broken, large, shop

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

SHOP = "5b8aa5a2d2c872e8321cf37308d69df2"
BROKEN = "0bad" * 8
ATTACKED = "66" * 16
LARGE = "1a" * 16
FAILED = Builder.id(15)
SELECT = Builder.id(7)
RESERVE = Builder.id(8)


def application(reader: MemoryReader, *, writable: bool = True) -> Starlette:
    """All pages over ``reader``, which also takes what is imported."""

    def put(request: bytes) -> Future[Any]:
        done: Future[Any] = Future()
        reader.add(TracesData.FromString(request))
        done.set_result(None)
        return done

    routes = web.routes(Reading(reader), status=dict, put=put if writable else None)
    return Starlette(routes=routes, exception_handlers=web.EXCEPTION_HANDLERS)


@pytest.fixture(scope="module")
def app() -> Starlette:
    """The pages over the sample traces."""
    return application(MemoryReader([shop(), broken(), attack()]))


@pytest.fixture
def client(app: Starlette) -> Iterator[TestClient]:
    """Asks the pages without a browser."""
    with TestClient(app) as client:
        yield client


@pytest.fixture
def base(app: Starlette, serve: Callable[[ASGIApp], str]) -> str:
    """Where a browser finds the pages."""
    return serve(app)


def current(page: Page) -> str:
    """The id of the span that keys act on."""
    return str(page.locator(".row.current").get_attribute("id")).removeprefix("s-")


def follow(page: Page, selector: str) -> None:
    """Click on what leads to another page, and be there."""
    with page.expect_navigation():
        page.click(selector)


def parameter(page: Page, name: str) -> str | None:
    """A parameter of the page's address."""
    value: str | None = page.evaluate("name => new URL(location.href).searchParams.get(name)", name)
    return value


def visible(page: Page) -> int:
    """How many rows are shown."""
    return page.locator(".row:visible").count()


def test_it_shows_every_span_with_its_depth_and_duration(client: TestClient) -> None:
    """Each span is a row, at its level of the tree."""
    text = client.get(f"/trace/{SHOP}").text
    assert len(re.findall(r'class="row ', text)) == 23
    assert re.search(rf'id="s-{SELECT}" role="row" aria-level="4"', text)
    assert "412 ms" in text


@pytest.mark.parametrize("written", [SHOP.upper(), SHOP])
def test_an_id_may_be_in_capitals(client: TestClient, written: str) -> None:
    """Hexadecimal digits of either case name a trace."""
    assert client.get(f"/trace/{written}").status_code == 200


def test_a_short_id_stands_for_one_with_leading_zeros() -> None:
    """Sixteen digits are a trace id as older tracers have them."""
    client = TestClient(application(MemoryReader([shop("0" * 16 + "00ff00ff00ff00ff")])))
    assert client.get("/trace/00ff00ff00ff00ff").status_code == 200


@pytest.mark.parametrize(
    ("trace_id", "advice"),
    [
        ("ef" * 16, "Look again"),
        ("0" * 32, "no trace id"),
        ("nonsense", "no trace id"),
        ("%3Cscript%3E", "no trace id"),
    ],
)
def test_an_unknown_trace_is_a_page_that_says_what_to_do(client: TestClient, trace_id: str, advice: str) -> None:
    """What is not there, and what is no id, is a 404 with advice."""
    for path in (f"/trace/{trace_id}", f"/trace/{trace_id}.json"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert advice in answer.text
        assert "<script>" not in answer.text


def test_the_json_is_the_trace(client: TestClient) -> None:
    """What is downloaded is OTLP JSON of all spans, with a name of its own."""
    answer = client.get(f"/trace/{SHOP}.json")
    assert answer.headers["content-disposition"] == f'attachment; filename="trace-{SHOP}.json"'
    assert otlp_json.loads(answer.content) == shop()


def test_a_span_that_is_not_there_is_not_found(client: TestClient) -> None:
    """Its details are a 404, and the page ignores it."""
    assert client.get(f"/trace/{SHOP}/span/{'9' * 16}").status_code == 404
    assert client.get(f"/trace/{'9' * 32}/span/{SELECT}").status_code == 404
    assert client.get(f"/trace/{'9' * 32}/find?text=x").status_code == 404
    assert client.get(f"/trace/{SHOP}?span={'9' * 16},<b>").status_code == 200


def test_no_page_has_inline_scripts_or_styles(client: TestClient) -> None:
    """Nothing that the content security policy would block is in any page."""
    for trace_id in (SHOP, BROKEN, ATTACKED):
        text = client.get(f"/trace/{trace_id}?span={Builder.id(2)}").text
        assert not re.search(r"<[a-z][^<>]*\sstyle=", text)
        for script in re.findall(r"<script\b[^>]*>", text):
            assert "src=" in script or 'type="application/json"' in script


def test_parts_of_the_time_are_drawn_and_said(client: TestClient) -> None:
    """Where the time went is in the bars, each part with its title, and in the details."""
    text = client.get(f"/trace/{SHOP}").text
    for kind in ("pool-wait", "connect", "server", "fetch", "loop-blocked", "queue-wait"):
        assert f'class="part {kind}"' in text
    assert "<title>pool wait 38 ms, 41.3 %</title>" in text
    assert "pool wait 38 ms, 41.3 %" in client.get(f"/trace/{SHOP}/span/{SELECT}").text


def test_what_is_broken_is_marked(client: TestClient) -> None:
    """Orphans, differing clocks, circles and impossible times are flagged and explained."""
    text = client.get(f"/trace/{BROKEN}?span={','.join(map(Builder.id, (2, 3, 4, 6)))}").text
    assert ">orphan</span>" in text
    assert ">clock</span>" in text
    assert "The clocks of back seem to differ" in text
    assert "1 span names a parent that is not here" in text
    assert "not received" in text
    assert "go in a circle" in text
    assert "ends 20 ms before it starts" in text


def test_find_looks_at_services_names_and_attributes(client: TestClient) -> None:
    """The text may be anywhere in a span, in any case, also as key=value."""

    def found(text: str) -> list[str]:
        spans: list[str] = client.get(f"/trace/{SHOP}/find", params={"text": text}).json()["spans"]
        return spans

    assert found("SEND_receipt") == [Builder.id(18), Builder.id(19)]
    assert found("user.id=u-4711") == [Builder.id(1)]
    assert found("pool grew") == [SELECT]
    assert found("timed out") == [FAILED]
    assert found("") == []
    assert found("no such thing") == []


def test_without_scripts_links_open_collapse_and_step(base: str, open_page: OpenPage) -> None:
    """Everything but copying works by links and forms alone."""
    page = open_page(f"{base}/trace/{SHOP}", javascript=False)
    follow(page, f"#s-{SELECT} .op")
    assert "SELECT id, name" in page.inner_text(".details")
    follow(page, f"#s-{RESERVE} .fold")
    assert parameter_of(page.url, "collapsed") == RESERVE
    assert visible(page) == 19
    follow(page, "#critical")
    assert "critical=answer" in page.url
    assert page.locator(".path:visible").count() > 10
    page.fill("#find input[name=find]", "charge card")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.inner_text("#find-count") == "2 found"
    follow(page, "#find-next")
    assert f"span={FAILED}" in page.url
    follow(page, "#collapse-all")
    assert visible(page) == 2
    follow(page, "#error-next")
    assert page.locator(f"#s-{FAILED}:visible").count() == 1
    follow(page, "#expand-all")
    assert visible(page) == 23
    follow(page, f"#s-{FAILED} .op")
    assert page.locator(".details").count() == 0
    assert "critical=answer" in page.url


def parameter_of(url: str, name: str) -> str | None:
    match = re.search(rf"[?&]{name}=([^&#]*)", url)
    return match[1] if match else None


def test_clicking_opens_and_closes_details(base: str, open_page: OpenPage) -> None:
    """Details are fetched into the page by a click on the name or the bar, and the address says so."""
    page = open_page(f"{base}/trace/{SHOP}")
    page.click(f"#s-{SELECT} .op")
    page.wait_for_selector(f"#s-{SELECT} + .details .pairs")
    assert parameter(page, "span") == SELECT
    details = page.locator(".details")
    assert "postgresql" in details.inner_text()
    details.locator("summary").click()
    assert details.locator(".long[open] pre").count() == 1
    page.click(f"#s-{FAILED} .time")
    page.wait_for_selector(f"#s-{FAILED} + .details .events")
    assert "TimeoutError" in page.inner_text(f"#s-{FAILED} + .details")
    assert parameter(page, "span") == f"{SELECT},{FAILED}"
    page.click(f"#s-{SELECT} .op")
    assert parameter(page, "span") == FAILED
    page.reload()
    assert page.locator(".details").count() == 1
    assert current(page) == FAILED


def test_keys_move_open_and_collapse(base: str, open_page: OpenPage) -> None:
    """The waterfall can be used by the keyboard alone."""
    page = open_page(f"{base}/trace/{SHOP}")
    press = page.keyboard.press
    press("j")
    assert current(page) == Builder.id(2)
    press("ArrowDown")
    press("k")
    press("ArrowUp")
    assert current(page) == Builder.id(1)
    press("j")
    press("ArrowLeft")
    assert parameter(page, "collapsed") == Builder.id(2)
    assert visible(page) == 21
    press("j")
    assert current(page) == Builder.id(5)
    press("k")
    press("ArrowRight")
    assert parameter(page, "collapsed") is None
    press("l")
    assert current(page) == Builder.id(3)
    press("h")
    assert current(page) == Builder.id(2)
    for key in ("Enter", "Space", "o"):
        press(key)
        page.wait_for_selector(f"#s-{Builder.id(2)} + .details .facts")
        press(key)
        page.wait_for_selector(".details", state="detached")
    press("w")
    assert visible(page) == 2
    press("e")
    assert visible(page) == 23
    press("x")
    assert parameter(page, "critical") == "answer"
    press("?")
    assert page.locator("#help .keys dt").count() > 12
    assert "Next error" in page.inner_text("#help")


def test_the_focused_row_is_the_only_stop_and_is_seen(base: str, open_page: OpenPage) -> None:
    """Tab enters the waterfall once, at the current row, which has an outline."""
    page = open_page(f"{base}/trace/{SHOP}")
    page.keyboard.press("j")
    assert page.locator(".row [tabindex='0']").count() == 1
    assert page.evaluate("getComputedStyle(document.querySelector('.row.current')).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.row') === null")


def test_error_keys_go_round_and_expand(base: str, open_page: OpenPage) -> None:
    """The keys n and p go to the next and previous failed span, though it is in a collapsed one."""
    page = open_page(f"{base}/trace/{SHOP}?collapsed=all")
    assert visible(page) == 2
    page.keyboard.press("n")
    assert current(page) == FAILED
    assert page.locator(f"#s-{FAILED}:visible").count() == 1
    page.keyboard.press("Home")
    page.keyboard.press("p")
    assert current(page) == FAILED
    page.click("#error-next")
    page.click("#error-previous")
    assert current(page) == FAILED


def test_find_counts_and_steps_while_typing(base: str, open_page: OpenPage) -> None:
    """What is found is counted and marked as it is typed; Enter and the arrows go through it; the address has it."""
    page = open_page(f"{base}/trace/{SHOP}")
    page.keyboard.press("f")
    page.keyboard.type("update stock")
    # "update sto" is found as often: the last letters may still be on their way.
    page.wait_for_function("() => new URL(location.href).searchParams.get('find') === 'update stock'")
    page.wait_for_function("() => document.getElementById('find-count').textContent === '4 found'")
    assert page.locator(".row.hit").count() == 4
    page.keyboard.press("Enter")
    assert page.inner_text("#find-count") == "1 of 4"
    page.keyboard.press("Shift+Enter")
    assert page.inner_text("#find-count") == "4 of 4"
    page.click("#find-next")
    assert page.inner_text("#find-count") == "1 of 4"
    page.click("#find-previous")
    assert current(page) == Builder.id(12)
    page.reload()
    assert page.locator(".row.hit").count() == 4
    page.keyboard.press("/")
    page.keyboard.press("Control+A")
    page.keyboard.type("nothing has this")
    page.wait_for_function("() => document.getElementById('find-count').textContent === 'none'")
    assert page.locator(".row.hit").count() == 0


@pytest.mark.parametrize("javascript", [True, False])
def test_the_critical_path_leads_to_the_answer_or_to_the_end(
    serve: Callable[[ASGIApp], str], open_page: OpenPage, javascript: bool
) -> None:
    """A switch tells the answer from the end of all work where that is later, and keeps what it says."""
    trace = Builder(SHOP)
    trace.add("web", "GET /", None, 0, 10, "server")
    trace.add("web", "task", 1, 5, 45)
    page = open_page(f"{serve(application(MemoryReader([trace.message])))}/trace/{SHOP}", javascript=javascript)
    assert page.locator(".path:visible").count() == 0
    assert page.locator("#until:visible").count() == 0
    page.click("#critical")
    page.wait_for_selector("#until:visible")
    assert (parameter_of(page.url, "critical"), page.locator(".on-path").count()) == ("answer", 1)
    follow(page, "#until >> text=to the end")
    assert (parameter_of(page.url, "critical"), page.locator(".on-path").count()) == ("end", 2)
    assert page.inner_text("#until [aria-current]") == "to the end"
    assert page.locator(".path:visible").count() == 2
    if javascript:
        page.keyboard.press("x")
        assert (parameter(page, "critical"), page.locator(".path:visible").count()) == (None, 0)
        page.keyboard.press("x")
        assert (parameter(page, "critical"), page.locator(".path:visible").count()) == ("end", 2)


def test_buttons_and_menus_act(base: str, open_page: OpenPage) -> None:
    """Collapse, expand, critical path, legend and minimap do what they say."""
    page = open_page(f"{base}/trace/{SHOP}")
    page.click("#collapse-all")
    assert (visible(page), parameter(page, "collapsed")) == (2, "all")
    page.click(f"#s-{Builder.id(22)} .fold")
    assert (visible(page), parameter(page, "collapsed")) == (3, f"all,-{Builder.id(22)}")
    page.reload()
    assert visible(page) == 3
    page.click("#expand-all")
    assert (visible(page), parameter(page, "collapsed")) == (23, None)
    page.click("#critical")
    assert page.get_attribute("#critical", "aria-pressed") == "true"
    assert page.locator(".path:visible").count() > 10
    page.click(".legend summary")
    assert "waiting for a connection" in page.inner_text(".legend")
    page.click(".legend summary")
    page.click("#minimap", position={"x": 200, "y": 3})
    assert current(page) == Builder.id(1)
    page.click("#minimap", position={"x": 200, "y": 52})
    assert int(current(page), 16) > 19


def test_the_id_is_copied(base: str, open_page: OpenPage) -> None:
    """The key c and the buttons put ids on the clipboard."""
    page = open_page(f"{base}/trace/{SHOP}?span={SELECT}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.keyboard.press("c")
    page.wait_for_selector("#copy-trace.copied")
    assert page.evaluate("navigator.clipboard.readText()") == SHOP
    page.click(".details .copy")
    page.wait_for_selector(".details .copied")
    assert page.evaluate("navigator.clipboard.readText()") == SELECT


def test_links_lead_to_spans_here_and_elsewhere(base: str, open_page: OpenPage) -> None:
    """A detached span and its origin link to each other, a link to another trace opens that."""
    page = open_page(f"{base}/trace/{SHOP}?span={Builder.id(22)}", expected=("404",))
    page.click(".details >> text=gateway POST /checkout")
    page.wait_for_selector(f"#s-{Builder.id(1)} + .details .relations")
    assert current(page) == Builder.id(1)
    page.click(f"#s-{Builder.id(1)} + .details a:has-text('warm the cache')")
    assert current(page) == Builder.id(22)
    page.click(f"#s-{Builder.id(22)} + .details a:has-text('abab')")
    page.wait_for_url(f"**/trace/{'ab' * 16}?span={'cd' * 8}*")
    assert "No spans of this trace" in page.inner_text("main")


def test_a_parent_is_a_link(base: str, open_page: OpenPage) -> None:
    """The details of a span lead to its parent's."""
    page = open_page(f"{base}/trace/{SHOP}?span={SELECT}")
    page.click(f".details a[data-span='{Builder.id(6)}']")
    page.wait_for_selector(f"#s-{Builder.id(6)} + .details .facts")
    assert current(page) == Builder.id(6)


def test_scripts_in_any_field_are_inert(base: str, open_page: OpenPage) -> None:
    """What attacks is shown as the text it is, and no link leads anywhere but to these pages."""
    page = open_page(f"{base}/trace/{ATTACKED}?span={Builder.id(2)}&find={ATTACK[:60]}")
    page.click(f"#s-{Builder.id(1)} .op")
    page.wait_for_selector(f"#s-{Builder.id(1)} + .details .facts")
    for path in ("/compare", f"/compare?a={ATTACKED}&b={ATTACKED}", "/map", f"/trace/{ATTACKED}"):
        page.goto(base + path)
        assert page.evaluate("window.pwned") is None
        assert ATTACK in page.inner_text("main") or path == "/map"
        assert page.evaluate("[...document.links].every(link => link.href.startsWith(location.origin + '/'))")
        assert page.evaluate("document.querySelectorAll('main img, main [onload], main [onerror]').length") == 0


def test_scripts_in_rows_out_of_view_are_inert(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """Rows that are text until they are scrolled to are escaped like all others."""
    many = Builder(ATTACKED)
    for number in range(400):
        many.add(ATTACK, ATTACK, 1 if number else None, number, 1, error=ATTACK)
    page = open_page(f"{serve(application(MemoryReader([many.message])))}/trace/{ATTACKED}")
    page.keyboard.press("p")
    assert current(page) == Builder.id(400)
    assert page.locator(".row.current b").inner_text() == ATTACK
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.querySelectorAll('main img, main [onload]').length") == 0


def test_a_large_trace_becomes_elements_as_it_is_scrolled(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """Of a long trace the rows out of view are text until they are needed: by scrolling, keys, find, or an error."""
    reader = MemoryReader()
    message = large(900, LARGE)
    reader._traces[bytes.fromhex(LARGE)] = message
    page = open_page(f"{serve(application(reader))}/trace/{LARGE}")
    assert page.locator(".row").count() < 500
    height = page.evaluate("document.documentElement.scrollHeight")
    assert height > 900 * 26
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight / 2)")
    page.wait_for_function("() => document.querySelectorAll('.row').length > 250")
    page.keyboard.press("p")
    last = max(number for number in range(1, 901) if number % 97 == 0)
    assert page.locator(f"#s-{Builder.id(last)}").count() <= 1
    assert "err" in str(page.locator(".row.current").get_attribute("class"))
    page.fill("#find input", "r-899")
    page.wait_for_function("() => document.getElementById('find-count').textContent === '1 found'")
    page.keyboard.press("Enter")
    assert current(page) == Builder.id(899)
    assert page.locator(".row.current.hit:visible").count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("w")
    assert visible(page) == 1


def test_a_trace_with_more_spans_than_a_page_has_rows_is_cut(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[[ASGIApp], str], open_page: OpenPage
) -> None:
    """The page says how many spans it lacks, and collapsing asks the server, which then shows later ones."""
    monkeypatch.setattr("causal_otel.collector.web.waterfall.ROWS_LIMIT", 10)
    page = open_page(f"{serve(application(MemoryReader([shop()])))}/trace/{SHOP}")
    assert "13 more spans" in page.inner_text(".notice")
    assert page.locator(".row").count() == 10
    follow(page, f"#s-{Builder.id(6)} .fold")
    assert page.locator(f"#s-{Builder.id(22)}").count() == 1
    assert page.locator(".notice").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_works_on_a_narrow_screen(base: str, open_page: OpenPage, theme: Any) -> None:
    """Nothing sticks out to the right on a small window in either theme."""
    page = open_page(f"{base}/trace/{SHOP}?span={SELECT},{FAILED}", theme=theme, width=700)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_upload_is_kept_and_shown(serve: Callable[[ASGIApp], str], open_page: OpenPage, tmp_path: Path) -> None:
    """A file of OTLP JSON is imported through the form, and its trace opens."""
    page = open_page(f"{serve(application(MemoryReader()))}/import")
    (tmp_path / "trace.json").write_bytes(otlp_json.dumps(shop()))
    page.set_input_files("#file", tmp_path / "trace.json")
    page.click("button.primary")
    page.wait_for_url(f"**/trace/{SHOP}")
    assert visible(page) == 23


def post(client: TestClient, data: bytes, **headers: str) -> Any:
    """Upload a file."""
    return client.post("/import", files={"file": ("t.json", data)}, headers=headers, follow_redirects=False)


def test_several_traces_in_a_file_are_listed() -> None:
    """With more than one trace, the page links to each."""
    both = TracesData(resource_spans=[*shop().resource_spans, *broken().resource_spans])
    client = TestClient(application(MemoryReader()))
    text = post(client, otlp_json.dumps(both)).text
    assert f"/trace/{SHOP}" in text
    assert f"/trace/{BROKEN}" in text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cannot be read"),
        (b"not json", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"{}", "no spans"),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x"}]}]}]}', "no valid id"),
        (
            json.dumps(
                {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "0" * 32, "spanId": "1" * 16}]}]}]}
            ).encode(),
            "zeros only",
        ),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    """Nothing of it is kept, and the page says what is wrong."""
    reader = MemoryReader()
    answer = post(TestClient(application(reader)), data)
    assert answer.status_code == 400
    assert reason in answer.text
    assert not reader.recent(1).trace_ids


def test_uploads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is too large is refused, whether by its size or by the form around it."""
    monkeypatch.setattr(imports, "FILE_LIMIT", 1000)
    client = TestClient(application(MemoryReader()))
    assert post(client, b" " * 1500).status_code == 413
    assert post(client, b" " * 200_000).status_code == 413


def test_other_sites_cannot_upload() -> None:
    """A form on another site is refused, though a browser sends it."""
    answer = post(TestClient(application(MemoryReader())), otlp_json.dumps(shop()), **{"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403


def test_a_form_without_a_file_is_refused() -> None:
    """Forgetting the file is said so, and so is a form that is none."""
    client = TestClient(application(MemoryReader()))
    assert "No file was chosen" in client.post("/import", data={"x": "y"}).text
    broken_form = client.post("/import", content=b"x", headers={"content-type": "multipart/form-data; boundary=b"})
    assert broken_form.status_code == 400


def test_a_store_that_cannot_keep_is_told_of() -> None:
    """The user is told to try again if the store does not take the spans."""

    def put(_: bytes) -> Future[Any]:
        raise OSError("no space left")

    routes = web.routes(Reading(MemoryReader()), status=dict, put=put)
    answer = post(TestClient(Starlette(routes=routes)), otlp_json.dumps(shop()))
    assert answer.status_code == 503
    assert "no space left" in answer.text


def test_without_a_store_to_write_there_is_no_import() -> None:
    """The page says where imports are possible, and takes none."""
    client = TestClient(application(MemoryReader(), writable=False))
    assert "takes no imports" in client.get("/import").text
    assert post(client, otlp_json.dumps(shop())).status_code == 403
