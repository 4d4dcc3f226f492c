"""The context in environment variables: of whoever has started this process, and for those that this one starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry.propagators.textmap import TextMapPropagator

import causal_otel
from causal_otel._internal import faults
from causal_otel.engine.context import attach
from causal_otel.engine.environ import callers
from tests.engine.forking import forked
from tests.recording import recording
from tests.span_relations import assert_span, traceparent

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"

PRELUDE = """
import json
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import TracerProvider as SdkProvider
import causal_otel

def parent(span):
    found = span.parent
    return None if found is None else [f"{found.trace_id:032x}", f"{found.span_id:016x}"]

"""


def tell(code: str, **variables: str) -> Any:
    """What a program prints as JSON, started with ``variables``."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(code)],
        env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none", **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


STARTS = {
    "block": "with causal_otel.span('root') as root: pass",
    "function": "root = causal_otel.traced(lambda: trace.get_current_span())()",
    "API": "root = trace.get_tracer('t').start_span('root')",
    "leaf": "from opentelemetry.trace import SpanKind\nroot = installed.tracer.start_leaf('root', SpanKind.CLIENT, {})",
}


@pytest.mark.parametrize("start", STARTS)
def test_the_first_root_is_below_the_caller(start: str) -> None:
    """However it is started, the first root has the caller's span for its parent; the second begins a trace."""
    code = f"""
    installed = causal_otel.install()
    {STARTS[start].replace(chr(10), chr(10) + "    ")}
    with causal_otel.span("second") as second:
        pass
    print(json.dumps([parent(root), root.get_span_context().trace_state.get("vendor"), parent(second)]))
    """
    told = tell(code, TRACEPARENT=TRACEPARENT, TRACESTATE="vendor=x")
    assert told == [[TRACE, SPAN], "x", None]


def test_of_a_provider_of_the_users_own() -> None:
    """The first root that is started through us on another provider is below the caller, too."""
    code = """
    causal_otel.install(tracer_provider=SdkProvider())
    with causal_otel.span("root") as root, causal_otel.span("child") as child:
        pass
    with causal_otel.span("second") as second:
        pass
    print(json.dumps([parent(root), parent(child)[0], parent(second)]))
    """
    assert tell(code, TRACEPARENT=TRACEPARENT) == [[TRACE, SPAN], TRACE, None]


def test_a_caller_that_is_not_sampled() -> None:
    """The first root of a trace that is not sampled is not either; it is in that trace."""
    code = """
    causal_otel.install()
    with causal_otel.span("root") as root:
        print(json.dumps([root.is_recording(), causal_otel.current_trace_id()]))
    """
    assert tell(code, TRACEPARENT=f"00-{TRACE}-{SPAN}-00") == [False, TRACE]


def test_a_span_with_a_parent_of_its_own_is_no_root() -> None:
    """What comes over the wire has its parent there, and leaves the caller for the first root."""
    other = "00-11111111111111111111111111111111-2222222222222222-01"
    code = f"""
    causal_otel.install()
    with causal_otel.span("served", parent=causal_otel.extract({{"traceparent": "{other}"}})) as served:
        pass
    with causal_otel.span("root") as root:
        pass
    print(json.dumps([parent(served), parent(root)]))
    """
    assert tell(code, TRACEPARENT=TRACEPARENT) == [["1" * 32, "2" * 16], [TRACE, SPAN]]


def test_baggage_is_current_where_install_was_called() -> None:
    """Baggage of the environment is current from ``install()`` on, without a span too, until ``uninstall()``."""
    code = """
    causal_otel.install()
    before = dict(baggage.get_all())
    with causal_otel.span("root") as root:
        inside = dict(baggage.get_all())
    causal_otel.uninstall()
    print(json.dumps([before, inside, dict(baggage.get_all()), parent(root)]))
    """
    assert tell(code, BAGGAGE="tenant=acme,, malformed") == [{"tenant": "acme"}, {"tenant": "acme"}, {}, None]


@pytest.mark.parametrize(
    "value", ["", "x", TRACEPARENT[:-3], f"00-{'0' * 32}-{SPAN}-01", f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-zz"]
)
def test_what_is_malformed_is_ignored(value: str) -> None:
    """A value that is no ``traceparent`` makes nobody a caller, and is not complained about."""
    code = """
    causal_otel.install()
    with causal_otel.span("root") as root:
        pass
    print(json.dumps([parent(root), dict(causal_otel.status().faults)]))
    """
    assert tell(code, TRACEPARENT=value, TRACESTATE="=,", BAGGAGE="x") == [None, {}]


def test_other_propagators_have_other_variables() -> None:
    """Where ``OTEL_PROPAGATORS`` says none, no variable is read."""
    code = """
    causal_otel.install()
    with causal_otel.span("root") as root:
        told = [parent(root), sorted(name for name in causal_otel.environ() if name.startswith("TRACE"))]
    print(json.dumps(told))
    """
    assert tell(code, TRACEPARENT=TRACEPARENT, OTEL_PROPAGATORS="none") == [None, []]


def test_without_install_nothing_is_read() -> None:
    """A process that does not trace has no caller, and neither has one after ``uninstall()``."""
    code = """
    causal_otel.install()
    causal_otel.uninstall()
    causal_otel.install(enabled=False)
    with causal_otel.span("root"):
        print(json.dumps(causal_otel.current_trace_id()))
    """
    assert tell(code, TRACEPARENT=TRACEPARENT) is None


def test_a_chain_of_processes_is_one_trace() -> None:
    """A program that a program starts with ``environ()`` is in the trace, below the span that has started it."""
    code = """
    import subprocess, sys
    causal_otel.install()
    with causal_otel.span("root") as root:
        inner = "import causal_otel; causal_otel.install(); "
        inner += "span = causal_otel.span('inner').__enter__(); print(span.parent.span_id, span.parent.trace_id)"
        done = subprocess.run([sys.executable, "-c", inner], env=causal_otel.environ(), capture_output=True, text=True)
        found = root.get_span_context()
    print(json.dumps([done.stdout.split() == [str(found.span_id), str(found.trace_id)], parent(root), done.stderr]))
    """
    assert tell(code, TRACEPARENT=TRACEPARENT) == [True, [TRACE, SPAN], ""]


class TestEnviron:
    def test_inside_a_span(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The variables are this process's, with those of the current context in place of what it was started with."""
        monkeypatch.setenv("TRACEPARENT", TRACEPARENT)
        monkeypatch.setenv("TRACESTATE", "stale=1")
        before = dict(os.environ)
        with recording([]):
            activation = attach(baggage.set_baggage("tenant", "acme"))
            callers.clear()
            with causal_otel.span("root") as root:
                found = causal_otel.environ()
            activation.end()
        assert found["TRACEPARENT"] == traceparent(root)
        assert found["BAGGAGE"] == "tenant=acme"
        del before["TRACESTATE"]
        assert found == {**before, "TRACEPARENT": found["TRACEPARENT"], "BAGGAGE": "tenant=acme"}
        assert os.environ["TRACEPARENT"] == TRACEPARENT

    def test_of_a_base(self) -> None:
        """Given other variables, those are the base, and are not changed."""
        base = {"HOME": "/", "BAGGAGE": "stale=1"}
        with recording([]), causal_otel.span("root") as root:
            assert causal_otel.environ(base) == {"HOME": "/", "TRACEPARENT": traceparent(root)}
        assert base == {"HOME": "/", "BAGGAGE": "stale=1"}

    def test_outside_any_trace(self) -> None:
        """A stale context is not handed on."""
        stale = {"TRACEPARENT": TRACEPARENT, "TRACESTATE": "a=b", "BAGGAGE": "c=d", "HOME": "/"}
        assert causal_otel.environ(stale) == {"HOME": "/"}

    @pytest.mark.parametrize("failing", ["inject", "fields"])
    def test_a_propagator_that_raises(self, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
        """What a propagator of the user's raises is counted, and the other variables come back."""
        monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", _Failing(failing))
        before = dict(faults.counts())
        assert causal_otel.environ({"HOME": "/"}) == {"HOME": "/"}
        counted = {site: n - before.get(site, 0) for site, n in faults.counts().items() if n != before.get(site, 0)}
        assert counted == {f"propagator: {failing}": 1}


class _Failing(TextMapPropagator):
    """Raises in one of its methods."""

    def __init__(self, method: str) -> None:
        self._method = method

    def _maybe(self, method: str) -> None:
        if method == self._method:
            raise ValueError("a propagator's")

    def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
        self._maybe("inject")

    def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
        return context

    @property
    def fields(self) -> set[str]:
        self._maybe("fields")
        return set()


def test_a_forked_child_has_no_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on with what its parent does; the caller of that one is not its own."""
    monkeypatch.setenv("TRACEPARENT", TRACEPARENT)
    with recording([]):
        assert len(callers) == 1
        assert forked(lambda: str(len(callers))) == "0"
        assert len(callers) == 1
    assert not callers


def _caller() -> SpanContext:
    return trace.get_current_span(causal_otel.extract({"traceparent": TRACEPARENT})).get_span_context()


def test_what_is_detached_takes_no_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """A root in ``detached()`` is linked to the trace that was left, and leaves the caller for the first other one."""
    monkeypatch.setenv("TRACEPARENT", TRACEPARENT)
    served = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    with recording([]) as recorded:
        parent = causal_otel.extract(served)
        with causal_otel.span("served", parent=parent), causal_otel.detached(), causal_otel.span("detached"):
            pass
        with causal_otel.span("root"):
            pass
        assert_span(recorded.only("detached"), None)
        assert_span(recorded.only("root"), _caller())
