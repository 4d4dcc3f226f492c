"""Patches of other packages, found by their entry points: with options, and with what can be wrong."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.faults.programs import run
from tests.services.received import ReceivedSpans

DRIVER = """
import asyncio, time

class AcmeError(Exception):
    code = "A17"

class Client:
    def __init__(self, host):
        self.host = host

    def connect(self, refused=None):
        if refused is not None:
            raise refused

    def get(self, key):
        time.sleep(0.02)
        return key * 2

    async def query(self, text, limit=None):
        await asyncio.sleep(0.02)
        if text == "FAIL":
            raise AcmeError(text)
        return [text] * (limit or 1)
"""
PATCH = '''
"""acmedb: a span for each query and each read; for connecting only if it fails."""

import functools
from dataclasses import dataclass

from causal_otel.instrument import ClientOptions, Errors, Operation, Patch, Wrap, argument, client_call, plumbing_call


@dataclass(frozen=True, kw_only=True)
class AcmeOptions(ClientOptions):
    """Options of the acmedb patch.

    Args:
        server: whether spans tell the server's address.
    """

    server: bool = True


@functools.lru_cache(1024)
def operation(name, host):
    """All spans of one name share this object, whose attributes are encoded once."""
    attributes = {"db.system.name": "acmedb", "db.operation.name": name}
    if host is not None:
        attributes["server.address"] = host
    return Operation(name, attributes)


def describe(tracing, client, name):
    return operation(name, client.host if tracing.options.server else None)


def query(tracing, client, args, kwargs):
    """What a call of ``Client.query(text, limit)`` is; None: nothing worth a span."""
    text = argument(0, "text", args, kwargs)
    if not isinstance(text, str):
        return None  # the driver is about to say so
    found = describe(tracing, client, text.split()[0].upper())
    limit = argument(1, "limit", args, kwargs)
    return found if limit is None else found.of_this_call({"acmedb.limit": limit})


ERRORS = Errors(lambda error: getattr(error, "code", type(error).__name__), "db.response.status_code")

PATCH = Patch(
    name="acmedb",
    versions={"acmedb": ("1.2", "2")},  # from 1.2, below 2
    options=AcmeOptions,
    targets=(
        Wrap("acmedb", "Client.query", client_call(query, ERRORS)),
        Wrap("acmedb", "Client.get", client_call(lambda tracing, client, *_: describe(tracing, client, "GET"), ERRORS)),
        Wrap("acmedb", "Client.connect", plumbing_call(lambda handle, client, *_: describe(handle, client, "CONNECT"))),
    ),
)
'''
PRELUDE = """
    import asyncio, json, sys, causal_otel

    def states():
        return {patch.name: str(patch) for patch in causal_otel.status().patches}

"""


def distribute(where: Path, name: str, entries: dict[str, str]) -> None:
    """What pip leaves of a package's metadata."""
    info = where / f"{name}-1.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.3\n")
    if entries:
        lines = [f"{key} = {value}" for key, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(("[causal_otel.patches]", *lines, "")))


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A directory with the driver and the patch, both installed."""
    (tmp_path / "acmedb.py").write_text(DRIVER)
    (tmp_path / "acmedb_tracing.py").write_text(PATCH)
    distribute(tmp_path, "acmedb", {})
    distribute(tmp_path, "acmedb_tracing", {"acmedb": "acmedb_tracing:PATCH"})
    return tmp_path


def told(code: str, packages: Path, **variables: str) -> tuple[Any, str]:
    """What a program printed last, and its log."""
    variables = {"PYTHONPATH": str(packages), "TRACING_EXPORTER": "none", **variables}
    done = run(textwrap.dedent(PRELUDE) + textwrap.dedent(code), seconds=120.0, **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_a_patch_of_another_package(packages: Path, receiver: ReceivedSpans) -> None:
    """It is imported with its driver, not before; its spans arrive, hooks and exclusion included; it can be undone."""
    code = """
        causal_otel.install(service_name="acme")
        assert "acmedb_tracing" not in sys.modules
        assert states()["acmedb"] == "acmedb: waiting"
        import acmedb
        assert "acmedb_tracing" in sys.modules
        assert states()["acmedb"] == "acmedb: on acmedb 1.3", states()
        client, fails, refused = acmedb.Client("db1"), acmedb.AcmeError, ConnectionError("no")
        with causal_otel.span("request") as root:
            client.connect()
            assert client.get("x") == "xx"
            assert asyncio.run(client.query("select 1", limit=2)) == ["select 1"] * 2
            try:
                asyncio.run(client.query("FAIL"))
            except acmedb.AcmeError as error:
                assert str(error) == "FAIL"
            try:
                client.connect(refused)
            except ConnectionError as error:
                assert error is refused
        assert causal_otel.status().faults == {}
        assert causal_otel.install().flush(30)
        wrapped = acmedb.Client.get
        causal_otel.uninstall()
        assert acmedb.Client.get is not wrapped and not hasattr(acmedb.Client.get, "__wrapped__")
        print(json.dumps([f"{root.get_span_context().trace_id:032x}"]))
    """
    [trace_id], _ = told(code, packages, OTLP_ENDPOINT=receiver.endpoint, TRACING_EXPORTER="otlp")
    spans = receiver.wait_for(lambda spans: len(spans) >= 5, trace_id=trace_id)
    [root] = [span for span in spans if span["name"] == "request"]
    assert all(span["parent_span_id"] == root["span_id"] for span in spans if span is not root)
    found = {span["name"]: span for span in spans if span is not root}
    common = {"db.system.name": "acmedb", "server.address": "db1"}
    well = {"code": "UNSET", "message": ""}
    assert {name: (span["attributes"], span["status"]) for name, span in found.items()} == {
        "GET": ({**common, "db.operation.name": "GET"}, well),
        "SELECT": ({**common, "db.operation.name": "SELECT", "acmedb.limit": 2}, well),
        "FAIL": (
            {**common, "db.operation.name": "FAIL", "error.type": "A17", "db.response.status_code": "A17"},
            {"code": "ERROR", "message": "AcmeError"},
        ),
        "CONNECT": (
            {**common, "db.operation.name": "CONNECT", "error.type": "ConnectionError"},
            {"code": "ERROR", "message": "ConnectionError"},
        ),
    }
    assert all(found[name]["end"] - found[name]["start"] >= 0.018e9 for name in ("GET", "SELECT", "FAIL"))
    assert {span["kind"] for span in found.values()} == {"CLIENT"}


@pytest.mark.parametrize(
    ("patches", "loaded", "state", "server"),
    [
        ('["acmedb"]', False, "on acmedb 1.3", True),
        ('{"acmedb": True}', False, "on acmedb 1.3", True),
        ('{"acmedb": options(server=False)}', True, "on acmedb 1.3", False),
        ('{"acmedb": False}', False, "off", None),
        ('["redis"]', False, "off", None),
    ],
)
def test_choices(packages: Path, patches: str, loaded: bool, state: str, server: bool | None) -> None:
    """``patches=`` chooses another package's patch and gives it options as it does ours."""
    code = f"""
        from causal_otel.engine.provider import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        def options(**given):
            from acmedb_tracing import AcmeOptions
            hook = lambda span, client, *call: span.set_attribute("hooked", client.host)
            return AcmeOptions(request_hook=hook, **given)

        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        causal_otel.install(patches={patches}, tracer_provider=provider)
        assert ("acmedb_tracing" in sys.modules) is {loaded}
        import acmedb
        with causal_otel.span("request"):
            acmedb.Client("db1").get("x")
        spans = [dict(span.attributes) for span in exporter.get_finished_spans() if span.name == "GET"]
        print(json.dumps([states()["acmedb"], spans]))
    """
    (status, spans), _ = told(code, packages)
    assert status == f"acmedb: {state}{' (hooks)' if loaded else ''}"
    expected = {"db.system.name": "acmedb", "db.operation.name": "GET"}
    if server:
        expected["server.address"] = "db1"
    if loaded:
        expected["hooked"] = "db1"
    assert spans == ([] if server is None else [expected])


BROKEN = {
    "import": ("raise RuntimeError('went wrong')", "cannot be imported: RuntimeError: went wrong"),
    "missing": ("", "cannot be imported: AttributeError: module 'acmedb_tracing' has no attribute 'PATCH'"),
    "nonsense": ("PATCH = 7", "is no Patch, but int"),
    "name": (
        "from causal_otel.instrument import Options, Patch\nPATCH = Patch('acme', {}, Options, ())",
        "is the patch 'acme', and registered as 'acmedb'",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_packages(packages: Path, broken: str) -> None:
    """The driver works, ours are applied, and the status and the log have a sentence that says what is wrong."""
    source, sentence = BROKEN[broken]
    (packages / "acmedb_tracing.py").write_text(source)
    code = """
        causal_otel.install()
        import acmedb, redis
        assert acmedb.Client("db1").get("x") == "xx"
        assert states()["redis"].startswith("redis: on")
        print(json.dumps(states()["acmedb"]))
    """
    status, log = told(code, packages)
    assert status == f"acmedb: failed acmedb_tracing:PATCH {sentence}"
    assert f"causal_otel: acmedb is not traced: acmedb_tracing:PATCH {sentence}" in log


def test_options_for_a_broken_package(packages: Path) -> None:
    """Where ``install()`` is to use it, what is wrong is an error in the settings, and nothing is installed."""
    (packages / "acmedb_tracing.py").write_text("PATCH = 7")
    code = """
        from causal_otel.instrument import ClientOptions
        try:
            causal_otel.install(patches={"acmedb": ClientOptions()})
        except causal_otel.SettingError as error:
            print(json.dumps([str(error), causal_otel.status().installed]))
    """
    (error, installed), _ = told(code, packages)
    assert error.endswith("is not allowed: acmedb_tracing:PATCH is no Patch, but int")
    assert installed is False


def test_names_that_are_taken(packages: Path) -> None:
    """A patch named as one of ours, or as another one, is ignored, with a warning that says whose it is."""
    (packages / "rival.py").write_text("raise RuntimeError('imported')")
    distribute(packages, "rival", {"redis": "rival:PATCH"})
    code = """
        causal_otel.install()
        import redis, acmedb
        assert "rival" not in sys.modules
        print(json.dumps([states()["redis"].split()[1], states()["acmedb"].split()[1]]))
    """
    status, log = told(code, packages)
    assert status == ["on", "on"]
    assert "causal_otel: the patch 'redis' of rival:PATCH is ignored: there is one of that name" in log


def test_metadata_that_cannot_be_read(packages: Path) -> None:
    """What some package has left in a bad state keeps nobody from being traced."""
    (packages / "rival-1.0.dist-info").mkdir()
    (packages / "rival-1.0.dist-info" / "entry_points.txt").write_text("[causal_otel.patches]\nnonsense\n")
    code = """
        causal_otel.install()
        import redis
        print(json.dumps(states()["redis"].split()[1]))
    """
    status, log = told(code, packages)
    assert status == "on"
    assert "causal_otel: no patches of other packages are known: their entry points cannot be read" in log
