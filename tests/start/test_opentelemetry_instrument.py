"""Our engine and patches under ``opentelemetry-instrument``, whose instrumentors do the rest and nothing twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.patches.http_server import echo_app, serve
from tests.span_relations import assert_span
from tests.start.starting import run_in, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.received import ReceivedSpans

_INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))
_PROGRAM = """
    import asyncio, sys, time
    import causal_otel, httpx
    from opentelemetry import trace

    async def ask():
        async with httpx.AsyncClient() as client:
            await client.get(sys.argv[1])

    with trace.get_tracer("shop").start_as_current_span("work"):
        time.sleep(0.01)
        asyncio.run(ask())
        try:
            import acme
        except ImportError:
            pass
        else:
            acme.call()
"""
_ACME = {
    "acme.py": """
        def call(): ...
    """,
    "acme_instrumentor.py": """
        import time
        import acme
        from opentelemetry import trace
        from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

        class AcmeInstrumentor(BaseInstrumentor):
            def instrumentation_dependencies(self):
                return ()

            def _instrument(self, **options):
                def call():
                    with trace.get_tracer("acme_instrumentor").start_as_current_span("acme"):
                        time.sleep(0.01)
                acme.call = call

            def _uninstrument(self, **options): ...
    """,
    "acme_instrumentor-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme-instrumentor\nVersion: 1.0\n",
    "acme_instrumentor-1.0.dist-info/entry_points.txt": """\
        [opentelemetry_instrumentor]
        acme = acme_instrumentor:AcmeInstrumentor
        [opentelemetry_distro]
        acme = opentelemetry.instrumentation.distro:DefaultDistro
        [opentelemetry_configurator]
        acme = acme_configurator:Configurator
    """,
    "acme_configurator.py": """
        from opentelemetry.sdk._configuration import _BaseConfigurator

        class Configurator(_BaseConfigurator):
            def _configure(self, **options):
                print("configured by acme")
    """,
}
"""Another distribution with an instrumentor, a distro and a configurator, in a folder of PYTHONPATH."""
_CHOSEN = {"OTEL_PYTHON_DISTRO": "causal_otel", "OTEL_PYTHON_CONFIGURATOR": "causal_otel"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that the program asks."""
    with serve(echo_app) as url:
        yield f"{url}/echo"


def _complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What it has said, but for OpenTelemetry's line about an instrumentor whose library is too new for it."""
    return [line for line in done.stderr.splitlines() if not line.startswith("sqlalchemy only instruments")]


def test_our_patches_replace_their_instrumentors(receiver: ReceivedSpans, tmp_path: Path, url: str) -> None:
    """A request that both could trace is there once, from our patch, on our engine."""
    write(tmp_path, {"shop.py": _PROGRAM})
    done = run_in(tmp_path, _INSTRUMENT, sys.executable, "shop.py", url, OTLP_ENDPOINT=receiver.endpoint)
    assert (done.returncode, _complaints(done)) == (0, [])
    request, work = receiver.spans()
    assert (work["name"], work["service"]) == ("work", "shop")
    assert_span(work, None, lasts=0.01)
    assert (request["name"], request["kind"], request["scope"]) == ("GET", "CLIENT", "causal_otel.httpx")
    assert assert_span(request, work)["http.response.status_code"] == 200


def test_other_instrumentors_load(receiver: ReceivedSpans, tmp_path: Path, url: str) -> None:
    """What no patch of ours traces, an instrumentor traces, with our provider; the variables choose among distros."""
    write(tmp_path, {"shop.py": _PROGRAM, **_ACME})
    variables = {"OTLP_ENDPOINT": receiver.endpoint, "PYTHONPATH": str(tmp_path), **_CHOSEN}
    done = run_in(tmp_path, _INSTRUMENT, sys.executable, "shop.py", url, **variables)
    assert done.returncode == 0
    assert "configured by acme" not in done.stdout
    request, acme, work = receiver.spans()
    assert (request["scope"], acme["scope"], acme["name"]) == ("causal_otel.httpx", "acme_instrumentor", "acme")
    assert_span(work, None, lasts=0.01)
    assert assert_span(request, work)["http.response.status_code"] == 200
    assert_span(acme, work, lasts=0.01)


def test_their_spans_are_finished_by_us(receiver: ReceivedSpans, tmp_path: Path) -> None:
    """What an instrumentor records has stable names and no literals, as with ``install(instrumentors=...)``."""
    program = """
        import contextlib, sqlite3
        with contextlib.closing(sqlite3.connect(":memory:")) as connection:
            connection.cursor().execute("SELECT 'hunter2'")
    """
    write(tmp_path, {"shop.py": program})
    done = run_in(tmp_path, _INSTRUMENT, sys.executable, "shop.py", OTLP_ENDPOINT=receiver.endpoint)
    assert (done.returncode, _complaints(done)) == (0, [])
    [span] = receiver.spans()
    assert span["scope"] == "opentelemetry.instrumentation.sqlite3"
    assert assert_span(span, None)["db.query.text"] == "SELECT ?"


@pytest.mark.long
@pytest.mark.parametrize(
    ("disabled", "scopes"),
    [("httpx, acme", ["shop"]), ("*", ["shop"]), ("acme", ["causal_otel.httpx", "shop"])],
    ids=["both", "all", "theirs"],
)
def test_disabled_instrumentations(
    receiver: ReceivedSpans, tmp_path: Path, url: str, disabled: str, scopes: list[str]
) -> None:
    """OpenTelemetry's variable turns off what it names: instrumentors, and patches of ours in their places."""
    write(tmp_path, {"shop.py": _PROGRAM, **_ACME})
    variables = {"OTLP_ENDPOINT": receiver.endpoint, "PYTHONPATH": str(tmp_path), **_CHOSEN}
    variables["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = disabled
    done = run_in(tmp_path, _INSTRUMENT, sys.executable, "shop.py", url, **variables)
    assert done.returncode == 0, done.stderr
    spans = receiver.spans()
    assert [span["scope"] for span in spans] == scopes
    *requests, work = spans
    assert_span(work, None, lasts=0.01)
    for request in requests:
        assert assert_span(request, work)["http.response.status_code"] == 200


@pytest.mark.long
def test_another_configurator(receiver: ReceivedSpans, tmp_path: Path, url: str) -> None:
    """With another configurator nothing of ours is installed, and so no instrumentor is left out."""
    program = _PROGRAM + "    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor as Theirs\n"
    program += "    print(causal_otel.status(), Theirs().is_instrumented_by_opentelemetry)\n"
    write(tmp_path, {"shop.py": program, **_ACME})
    variables = {"PYTHONPATH": str(tmp_path), "OTEL_PYTHON_CONFIGURATOR": "acme", "OTEL_PYTHON_DISTRO": "causal_otel"}
    done = run_in(tmp_path, _INSTRUMENT, sys.executable, "shop.py", url, **variables)
    assert done.stdout.splitlines() == [
        "configured by acme",
        "causal_otel: not tracing (install() has not been called) True",
    ]


@pytest.mark.long
def test_a_mistake_is_told_in_one_line(tmp_path: Path, url: str) -> None:
    """A setting that is not allowed does not keep the application from starting, nor others' instrumentors."""
    write(tmp_path, {"shop.py": "print('done')"})
    done = run_in(tmp_path, _INSTRUMENT, sys.executable, "shop.py", OTLP_ENDPOINT="ftp://collector")
    assert (done.returncode, done.stdout) == (0, "done\n")
    [line] = _complaints(done)
    assert line.startswith("causal_otel: nothing is traced: OTLP_ENDPOINT='ftp://collector' is not allowed")


@pytest.mark.long
def test_run_below_opentelemetry_instrument(receiver: ReceivedSpans, tmp_path: Path, url: str) -> None:
    """Both at once install once, in either order."""
    write(tmp_path, {"shop.py": _PROGRAM})
    run = (str(Path(sys.executable).with_name("causal-otel")), "run")
    for number, command in enumerate(((*run, _INSTRUMENT), (_INSTRUMENT, *run)), 1):
        done = run_in(tmp_path, *command, sys.executable, "shop.py", url, OTLP_ENDPOINT=receiver.endpoint)
        assert (done.returncode, _complaints(done)) == (0, [])
        assert [span["scope"] for span in receiver.spans()] == ["causal_otel.httpx", "shop"] * number
        request, work = receiver.spans()[-2:]
        assert_span(work, None, lasts=0.01)
        assert assert_span(request, work)["http.response.status_code"] == 200
