"""What pages say of the code: names, numbers and messages that they quote are those of the code."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from opentelemetry import environment_variables
from opentelemetry.instrumentation import environment_variables as instrumentation_variables

from causal_otel.causality.recorded import RECORDED
from causal_otel.collector.analysis.where_time_went import _KEYS
from causal_otel.collector.config import CollectorSettings
from causal_otel.collector.mcp.tools import TOOLS
from causal_otel.collector.store import tables
from causal_otel.collector.web.forms import SearchForm
from causal_otel.export.ledger import REASONS
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.registry import BUILT_IN
from causal_otel.metrics.pools import INSTRUMENTS
from causal_otel.names import CAUSAL_QUEUE_WAIT, DB_SYSTEM_NAME
from causal_otel.settings import table
from tests.docs.blocks import ALL
from tests.docs.pages import PAGES, ROOT, code_blocks, read

_ARCHITECTURE = "docs/explanation/architecture.md"
_COLLECTOR = "docs/reference/collector.md"
_DECISIONS = "docs/explanation/decisions"
_AGENTS = "docs/how-to/coding-agents.md"

_PLACES = ("", "causal_otel", "causal_otel/collector", "causal_otel/instrument", "causal_otel/patches")
"""Where a page's path of a file may begin."""

_SAID: list[tuple[str, str, str, float]] = [
    (_ARCHITECTURE, "slices of {:.0f} spans", "export.batcher:_SLICE", 1),
    (f"{_DECISIONS}/0023*", "slices of {:.0f} spans", "export.batcher:_SLICE", 1),
    (f"{_DECISIONS}/0027*", "an attempt after {:.0f} seconds", "export.sender:_FIRST_SLOW_PAUSE", 1),
    (_AGENTS, "No answer has more than {:,.0f} bytes", "collector.mcp.answers:MOST_BYTES", 1),
    (_AGENTS, "in the newest {:.0f} traces with errors", "collector.mcp.tools.errors:_MOST_TRACES", 1),
    (_AGENTS, "tell of the newest {:.0f} traces", "collector.mcp.statistics:_MOST_TRACES", 1),
    (_COLLECTOR, "A request has at most {:.0f} KiB, an answer", "collector.mcp.endpoint:_MOST_BYTES", 1024),
    (_COLLECTOR, "A request is at most {:.0f} MiB", "collector.receive.intake:BODY_LIMIT", 2**20),
    (_COLLECTOR, "at most {:.0f} MiB of requests arrive", "collector.receive.otlp_http:_UNDER_WAY_LIMIT", 2**20),
    (_COLLECTOR, "OTLP JSON up to {:.0f} MB", "collector.web.imports:FILE_LIMIT", 2**20),
    (_COLLECTOR, "While {:.0f} wrong ones", "collector.failed_logins:_MOST_WAITING", 1),
    (_COLLECTOR, "at most {:.0f}), `sort`", "collector.web.forms:LIMIT", 1),
    (_COLLECTOR, "with more than {:,.0f} spans, rows", "collector.web.layout:ROWS_LIMIT", 1),
    (_COLLECTOR, "shows the members, {:.0f} at a time", "collector.web.layout:PAGE", 1),
    (_COLLECTOR, "more than {:,.0f} spans is shown before", "collector.web.trace_screen:EXPLAINED_AT_ONCE", 1),
    (_COLLECTOR, "The tab shows {:,.0f} of them", "collector.web.trace_logs:_MOST", 1),
    (_COLLECTOR, "the details of a span {:.0f};", "collector.web.trace_logs:_MOST_OF_SPAN", 1),
    (_COLLECTOR, "Traces of {:,.0f} spans and more", "collector.reading:LARGE", 1),
    (_COLLECTOR, "what is less than {:.1f} times as long", "collector.trends.slower:NOTABLE", 1),
    (_COLLECTOR, "Of fewer than {:.0f} calls, now or before", "collector.trends.slower:FEWEST", 1),
    (_COLLECTOR, "and only then cut to {:.0f}", "collector.web.live_feed:SHOWN", 1),
    (_COLLECTOR, "the last {:,.0f} traces received are looked through", "collector.web.live_feed:LOOKED_AT", 1),
    (_COLLECTOR, "at most {:.0f} traces of each", "collector.web.compare_groups:SAMPLED", 1),
    (_COLLECTOR, "shows a trace of {:,.0f} spans or more", "collector.heavy.rules:HEAVY_SPANS", 1),
    (_COLLECTOR, "Of a service {:.0f} systems", "collector.systems:MOST", 1),
    (_COLLECTOR, "and at most {:,.0f}; an answer", "collector.jaeger.answers:MAX_TRACES", 1),
    (_COLLECTOR, "brings it to\n{:,.0f} spans", "collector.jaeger.answers:MAX_SPANS", 1),
]
"""Page, what it says, the constant that it is about, and what that is divided by."""


@pytest.mark.parametrize(("page", "sentence", "constant", "unit"), _SAID)
def test_numbers_are_those_of_the_code(page: str, sentence: str, constant: str, unit: float) -> None:
    """A number that a page tells is the constant of the code."""
    (path,) = ROOT.glob(page)
    module, _, name = constant.partition(":")
    value = attrgetter(name)(import_module(f"causal_otel.{module}"))
    said = " ".join(sentence.format(value / unit).split())
    assert said in " ".join(path.read_text(encoding="utf-8").split()), constant


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_files_that_pages_name_exist(page: str) -> None:
    """A path of a file or folder that a page names in literals is there, in the checkout or beside the page."""
    named = re.findall(r"`([\w./]+(?:\.py|/))`", read(page))
    mine = [name for name in named if name.startswith(tuple("abcdefghijklmnopqrstuvwxyz_")) and "NAME" not in name]
    places = (*_PLACES, Path(page).parent)
    missing = [name for name in mine if not any((ROOT / place / name).exists() for place in places)]
    made = {"shop.py", "acmedb_tracing.py", "asgi.py", *(block.file for block in ALL)}
    assert [name for name in missing if name not in made] == []


def test_variables_that_pages_name_are_settings() -> None:
    """A variable that a page sets or names is one that the tables of settings have, or one of OpenTelemetry's API."""
    known = {variable for setting in table() for variable in setting.metadata["variables"]}
    for module in (environment_variables, instrumentation_variables):
        known |= {name for name in vars(module) if name.startswith("OTEL_")}
    collector = {f"CAUSAL_OTEL_COLLECTOR_{name.upper()}" for name in CollectorSettings.__dataclass_fields__}
    for page in PAGES:
        named = re.findall(r"\b((?:OTEL|TRACING|JAEGER|OTLP|CAUSAL_OTEL_COLLECTOR)_[A-Z_]*[A-Z])\b(?!\*|_)", read(page))
        assert set(named) - known - collector - {"OTEL_CTX"} == set(), page  # a mapping's name


@pytest.mark.parametrize(
    ("page", "before", "after", "said"),
    [
        (_COLLECTOR, "Of these our patches record", "; the others are shown", "recorded, within a span"),
        ("docs/how-to/terminal.md", "Of these our patches record", "; the others are shown", "recorded"),
        (
            "docs/reference/attributes.md",
            "`causal-otel trace` show them, and",
            ", which no patch of ours sets",
            "not recorded",
        ),
    ],
)
def test_pages_say_which_parts_of_a_span_are_measured(page: str, before: str, after: str, said: str) -> None:
    """Of the parts of a span's time that are shown, those that a page says our patches record are those they do."""
    recorded = {key for name in BUILT_IN for key in BUILT_IN[name].load().records} & _KEYS
    within = recorded - {CAUSAL_QUEUE_WAIT}
    expected = {"recorded": recorded, "recorded, within a span": within}.get(said, _KEYS - recorded)
    sentence = read(page).partition(before)[2].partition(after)[0]
    assert set(re.findall(r"`(causal\.[\w.]+)`", sentence)) == expected


def test_the_readme_promises_no_part_that_is_not_measured() -> None:
    """Each wait that its first lines name is one that a patch, or the engine, records."""
    recorded = {key for name in BUILT_IN for key in BUILT_IN[name].load().records} | set(RECORDED)
    said = read("README.md").partition("waited for: ")[2].partition(".")[0]
    named = {
        "a pool's connection": "causal.pool.wait",
        "connecting": "causal.connect",
        "the server": "causal.server",
        "rows": "causal.fetch",
        "a lock and who had it": "causal.lock.holder",
        "a pause before another attempt": "causal.retry.wait",
        "a queue": "causal.queue.wait",
        "an event loop that something else blocked": "causal.loop.blocked",
    }
    assert " ".join(said.split()).split(", ") == list(named)
    assert set(named.values()) <= recorded


def test_the_page_of_waits_says_who_tells_of_them() -> None:
    """Each part is told by those patches that the page names; what redis' tells, valkey's does too."""
    page = read("docs/how-to/waits.md").partition("## What is nobody's wait")[0]
    rows = re.findall(r"^\| `(causal\.[\w.]+)` \|.*\| ([^|]*) \|$", page, re.MULTILINE)
    recorded = {key: {name for name in BUILT_IN if key in BUILT_IN[name].load().records} for key, _ in rows}
    told = {key: set(who.lower().split(", ")) for key, who in rows}
    assert {key: who | ({"valkey"} if "redis" in who else set()) for key, who in told.items() if who != {"all"}} == {
        key: who for key, who in recorded.items() if told[key] != {"all"}
    }


def test_the_page_of_metrics_has_those_of_pools() -> None:
    """What is measured of pools is in its table, with every patch that measures its driver's: those of databases."""
    page, databases = read("docs/reference/metrics.md"), [name for name in BUILT_IN if BUILT_IN[name].load().pools]
    assert databases == [name for name in BUILT_IN if DB_SYSTEM_NAME in BUILT_IN[name].load().records]
    links = ", ".join(f"[`{name}`](patches/{name}.md)" for name in databases)
    assert [each.name for each in INSTRUMENTS if f"| `{each.name}` | `{each.unit}` | {links} |" not in page] == []


def test_the_page_about_production_knows_when_the_log_is_brought_to_the_disk() -> None:
    """How much of the log a power cut may cost is what SQLite is told; nothing else of the store's is forced less."""
    page = " ".join(read("docs/how-to/production.md").split())
    assert f"some {tables._CHECKPOINT_PAGES * tables._PAGE_BYTES // 2**20} MiB of log" in page
    assert "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL" in tables._PRAGMAS
    assert "`synchronous=NORMAL`" in page


def test_every_reason_for_which_spans_are_dropped_is_explained() -> None:
    """The table of dropped spans has each reason that the export counts, and no others."""
    table = read("docs/how-to/troubleshooting.md").partition("| reason | what it means | do |\n|---|---|---|\n")[2]
    rows = table.partition("\n\n")[0].splitlines()
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])) == sorted(REASONS)


def test_the_search_page_has_the_fields_that_a_page_names() -> None:
    """Fields that the page about finding traces quotes are on the search page; its address is understood."""
    page = "docs/how-to/find-traces.md"
    table = read(page).partition("| in the terminal |\n")[2].partition("\n\n")[0]
    fields = [name for row in table.splitlines() for name in re.findall(r'"([^"]+)"', row.split("|")[2])]
    templates = ROOT / "causal_otel" / "collector" / "web" / "templates"
    shown = "".join((templates / f"{name}.html").read_text(encoding="utf-8") for name in ("search", "base"))
    assert len(fields) >= 8
    assert [
        name for name in fields if f">{name}<" not in shown and f'"{name}"' not in shown and f"> {name}<" not in shown
    ] == []
    (query,) = re.findall(r"16686/\?([^\s']+)", read(page))
    form = SearchForm.read(dict(parse_qsl(query)))
    assert (form.service, form.operation) == ("shop-api", "POST /orders")
    query = form.query(7 * 3600 * 10**9)
    assert (query.start, query.shortest) == (3600 * 10**9, 10**9)


# -- messages ----------------------------------------------------------------------------------------------------------


@cache
def _strings() -> str:
    """All strings of the package, one after the other; an f-string as what is constant in it."""
    files = (ROOT / "causal_otel").rglob("*.py")
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    return "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


@pytest.mark.parametrize(
    "page", [_AGENTS, _COLLECTOR, "docs/how-to/missing-traces.md", "docs/how-to/troubleshooting.md"]
)
def test_messages_that_pages_quote_are_those_of_the_code(page: str) -> None:
    """What "it says" in a table of a page, between the dots, is in a message of the code."""
    strings = _strings()
    table = read(page).partition("| it says | do |\n|---|---|\n")[2].partition("\n\n")[0]
    said = [quoted for row in table.splitlines() for quoted in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(said) >= 4
    pieces = [piece.strip() for quoted in said for piece in re.split(r"\.\.\.|\(|\)", quoted) if len(piece.strip()) > 2]
    assert [piece for piece in pieces if piece not in strings] == []


def test_the_collector_prints_what_its_page_shows() -> None:
    """The lines with which the collector starts are those of the page."""
    shown = read(_COLLECTOR).partition("$ causal-otel collector\n")[2].partition("```")[0]
    labels = re.findall(r"^  ([\w/ ]+): ", shown, re.MULTILINE)
    assert len(labels) == 6
    source = (ROOT / "causal_otel/cli/collector.py").read_text(encoding="utf-8")
    assert [label for label in labels if f'"{label}"' not in source] == []


def test_the_page_of_agents_has_every_tool() -> None:
    """Its table has the tools that there are, each with the cap that its description tells."""
    rows = re.findall(r"^\| `(\w+)` \| .* \| ([^|]*) \|$", read(_AGENTS), re.MULTILINE)
    assert [name for name, _ in rows] == list(TOOLS)
    assert [name for name, cap in rows if cap.split(" of")[0].lower() not in TOOLS[name].description.lower()] == []


def test_the_terminal_prints_what_its_page_shows() -> None:
    """The headings of a trace in the terminal are those of the page's example."""
    example = next(block for block in code_blocks("docs/how-to/terminal.md", "") if "Critical path" in block)
    headings = [paragraph.splitlines()[0] for paragraph in example.strip().split("\n\n")[3:]]
    source = (ROOT / "causal_otel/cli/trace.py").read_text(encoding="utf-8")
    assert len(headings) == 3
    assert [heading for heading in headings if heading.partition(" to the ")[0] not in source] == []


# -- the architecture page ---------------------------------------------------------------------------------------------


def test_the_architecture_page_has_every_folder() -> None:
    """Each folder and module of the package, and each file of the seam, is in a table of the page."""
    page = read(_ARCHITECTURE)
    package = ROOT / "causal_otel"
    modules = [path.name for path in package.glob("*.py") if path.name != "__init__.py"]
    folders = [f"{path.parent.name}/" for path in package.glob("*/__init__.py")]
    seam = [path.name for path in (package / "instrument").glob("*.py") if path.name != "__init__.py"]
    assert [name for name in (*modules, *folders, *seam) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_picture_shows_where_each_patch_takes_hold(name: str) -> None:
    """In a patch's box, what stands right of an arrow is one of its targets."""
    box = read(_ARCHITECTURE).partition(f"┌ {name}: ")[2].partition("└")[0]
    right = [line.strip("│ ").rpartition("──►")[2] for line in box.splitlines()[1:]]
    shown = [each.strip() for line in right if "signals:" not in line for each in line.split(",") if each.strip()]
    targets = {target.attribute for target in BUILT_IN[name].load().targets if isinstance(target, Wrap)}
    assert shown
    assert set(shown) - targets - {"TracingMiddleware", "WsgiMiddleware"} == set()


def test_folders_import_only_what_the_page_allows() -> None:
    """A folder or module imports only what its row of the table names, or what stands below it where it says so."""
    rows = [
        row.split("|") for row in read(_ARCHITECTURE).partition("may import of ours |\n|---|---|---|\n")[2].splitlines()
    ]
    rows = rows[: next(number for number, row in enumerate(rows) if len(row) != 5)]
    helpers = {"_internal", "_version"}
    order = [re.findall(r"`([\w]+)(?:/|\.py)`", row[1]) for row in rows]
    for number, (names, row) in enumerate(zip(order, rows, strict=True)):
        below = {name for others in order[number + 1 :] for name in others}
        named = set(re.findall(r"`(\w+)`", row[3])) | ({"engine"} if "the engine's mark" in row[3] else set())
        everything = row[3].strip().startswith("everything")
        for name in names:
            imported = _imports(name) - {name, "__init__", *names} - helpers
            assert imported <= (below if everything else named & below), (name, imported)


def _imports(name: str) -> set[str]:
    """The folders and modules of ours that one of them imports."""
    place = ROOT / "causal_otel" / name
    files = list(place.rglob("*.py")) if place.is_dir() else [Path(f"{place}.py")]
    found: set[str] = set()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{each.name}" for each in node.names]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        else:
            continue
        there = (each.split(".")[1] for each in names if each.startswith("causal_otel."))
        found |= {each for each in there if (place.parent / each).is_dir() or (place.parent / f"{each}.py").exists()}
    return found
