"""Sampling as it is installed: every sampler of the settings, strategies that change, forks, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults.programs import run

_PRELUDE = """
import json, os, sys, time, warnings
import causal_otel
from opentelemetry import propagate, trace
from opentelemetry.trace import StatusCode
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

warnings.simplefilter("ignore")

def install(**settings):
    global installed, exporter
    installed = causal_otel.install(patches=[], exporter="none", service_name="svc", **settings)
    exporter = InMemorySpanExporter()
    installed.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))

def names():
    return [span.name for span in exporter.get_finished_spans()]

def share(times=200):
    return sum(installed.tracer.start_span("x").is_recording() for _ in range(times)) / times

def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, causal_otel.status()
        time.sleep(0.01)

def rules():
    return causal_otel.status().sampling.rules
"""


def _document(share: float, service: str = "svc") -> str:
    return json.dumps({"service_strategies": [{"service": service, "type": "probabilistic", "param": share}]})


def _run(code: str, **variables: str) -> Any:
    """Run it after the prelude; what it prints last, which is JSON."""
    done = run(_PRELUDE + code, seconds=60.0, **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("sampler", "argument", "expected"),
    [
        ("", "", [True, True, False, "th="]),
        ("always_on", "", [True, True, True, "th="]),
        ("always_off", "", [False, False, False, "th="]),
        ("parentbased_always_on", "", [True, True, False, "th="]),
        ("parentbased_always_off", "", [False, True, False, "th="]),
        ("traceidratio", "0.99999999", [True, True, True, "th=000000"]),
        ("traceidratio", "0", [False, False, False, "th="]),
        ("parentbased_traceidratio", "0.99999999", [True, True, False, "th=000000"]),
        ("parentbased_traceidratio", "0", [False, True, False, "th="]),
        ("parentbased_jaeger_remote", "endpoint=http://127.0.0.1:1,initialSamplingRate=0", [False, True, False, "th="]),
        ("jaeger_remote", "endpoint=http://127.0.0.1:1,initialSamplingRate=0", [False, False, False, "th="]),
        ("jaeger_remote", "endpoint=http://127.0.0.1:1,initialSamplingRate=1", [True, True, True, "th="]),
    ],
)
def test_samplers_are_the_standards(sampler: str, argument: str, expected: list[Any]) -> None:
    """Roots, children of what is sampled elsewhere and of what is not: each sampler does as OpenTelemetry says."""
    found = _run(
        """
install()
def recorded(flags):
    header = {"traceparent": f"00-{1:032x}-{1:016x}-{flags:02x}"} if flags is not None else {}
    span = installed.tracer.start_span("x", propagate.extract(header))
    return span.is_recording(), span.get_span_context().trace_state.get("ot", "th:").replace(":", "=")
root, state = recorded(None)
# a trace id whose last bits are small is dropped by nearly every threshold
print(json.dumps([root, recorded(1)[0], recorded(0)[0], state[:9] if state != "th=" else state]))
""",
        OTEL_TRACES_SAMPLER=sampler,
        OTEL_TRACES_SAMPLER_ARG=argument,
    )
    if sampler == "traceidratio" and argument != "0":
        expected = [True, False, False, expected[3]]  # by the trace id, whatever the parent says
    assert found == expected


def test_file_goes_before_the_default(tmp_path: Path) -> None:
    """With a file the service does what it says, and the status has it in words."""
    path = tmp_path / "strategies.json"
    path.write_text(_document(0))
    found = _run(
        """
install()
sampling = causal_otel.status().sampling
assert f"sampling: else: nothing, by {sampling.source}" in str(causal_otel.status())
print(json.dumps([share(), sampling.source, sampling.rules, sampling.problem]))
""",
        TRACING_SAMPLING_FILE=str(path),
    )
    assert found == [0.0, str(path), ["else: nothing"], ""]


def test_bad_file_at_the_start(tmp_path: Path) -> None:
    """A file that is bad from the beginning stops nobody: the default rules count, and log and status say why."""
    path = tmp_path / "strategies.json"
    path.write_text('{"default_strategy":\n {"type": "probabilistic", "param": 7}}')
    done = run(
        _PRELUDE + "install(); print(json.dumps([share(), causal_otel.status().sampling.problem]))",
        TRACING_SAMPLING_FILE=str(path),
    )
    problem = f"{path}, line 2: param must be a number from 0 to 1, not 7"
    assert json.loads(done.stdout) == [1.0, problem]
    assert done.stderr.count(problem) == 1


def test_sampler_that_was_chosen_beats_the_file(tmp_path: Path) -> None:
    """Where a sampler is named the file does not count, which is said once."""
    path = tmp_path / "strategies.json"
    path.write_text(_document(0))
    done = run(
        _PRELUDE + "install(); print(json.dumps([share(), rules()]))",
        TRACING_SAMPLING_FILE=str(path),
        OTEL_TRACES_SAMPLER="parentbased_always_on",
    )
    assert json.loads(done.stdout) == [1.0, ["else: everything"]]
    assert "the sampling file is not read, since parentbased_always_on says what to record" in done.stderr


def test_forked_children_watch_for_themselves(tmp_path: Path) -> None:
    """A child, forked before the first root or after it, sees the file change; so does its parent, and not after all.

    ``uninstall()`` ends the watching, also in the child.
    """
    path = tmp_path / "strategies.json"
    path.write_text(_document(0))
    found = _run(
        f"""
import threading
path = {str(path)!r}
install(sampling_file=path)
def watching():
    return [thread.name for thread in threading.enumerate()].count("causal-otel-sampling")
def child():
    until(lambda: share(1) == 1 and rules() == ("else: everything",))
    assert watching() == 1
    causal_otel.uninstall()
    until(lambda: watching() == 0)
pids = []
for first in (True, False):
    pid = os.fork()
    if not pid:
        try:
            child()
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    pids.append(pid)
    if first:
        assert watching() == 0
        assert share() == 0
        until(lambda: watching() == 1)
with open(path + ".new", "w") as file:
    file.write({_document(1)!r})
os.replace(path + ".new", path)
statuses = [os.waitpid(pid, 0)[1] for pid in pids]
until(lambda: share(1) == 1)
causal_otel.uninstall()
until(lambda: watching() == 0)
print(json.dumps(statuses))
"""
    )
    assert found == [0, 0]


def test_installed_again(tmp_path: Path) -> None:
    """After an uninstall the next installation goes by its own settings."""
    path = tmp_path / "strategies.json"
    path.write_text(_document(0))
    found = _run(
        f"""
install(sampling_file={str(path)!r}, keep_errors="process")
first = share(), causal_otel.status().buffer is None
causal_otel.uninstall()
install(sampler="parentbased_traceidratio", sampler_arg=1)
print(json.dumps([first, share(), causal_otel.status().buffer is None, rules()]))
"""
    )
    assert found == [[1.0, False], 1.0, True, ["else: everything"]]  # what is buffered is recorded


def test_errors_are_kept() -> None:
    """With keep_errors=process failures and slow traces are exported though the sampler said no; the status counts."""
    found = _run(
        """
install(sampler="always_off", keep_errors="process", keep_slow=60.0)
now = time.time_ns()
installed.tracer.start_span("well", start_time=now - 50 * 10**9).end(now)
try:
    with causal_otel.span("failed"):
        with causal_otel.span("child"):
            pass
        raise ValueError
except ValueError:
    pass
installed.tracer.start_span("slow", start_time=now - 70 * 10**9).end(now)
buffer = causal_otel.status().buffer
text = str(causal_otel.status())
assert "not sampled: 2 exported after all, 1 buffered" in text, text
print(json.dumps([names(), buffer.promoted, buffer.buffered, buffer.evicted]))
"""
    )
    assert found == [["child", "failed", "slow"], 2, 1, {}]


def test_limits_are_the_settings() -> None:
    """How much may be buffered is set, and what that costs is counted."""
    found = _run(
        """
install(sampler="always_off", keep_errors="process", keep_max_traces=2, keep_max_spans=3)
with causal_otel.span("root") as root:
    for number in range(6):
        with causal_otel.span(str(number)):
            pass
    root.set_status(StatusCode.ERROR)
open_ones = [installed.tracer.start_span("open") for _ in range(3)]
print(json.dumps([names(), causal_otel.status().buffer.evicted]))
"""
    )
    assert found == [["3", "4", "5", "root"], {"spans": 3, "traces": 1}]


def test_keep() -> None:
    """keep() keeps the current trace, tells other processes, and says whether there was anything to keep."""
    found = _run(
        """
assert not causal_otel.keep()
install(sampler="always_off", keep_errors="process")
assert not causal_otel.keep()
with causal_otel.span("root"):
    with causal_otel.span("early"):
        pass
    before = {}
    causal_otel.inject(before)
    assert causal_otel.keep() and causal_otel.keep()
    carrier = {}
    causal_otel.inject(carrier)
print(json.dumps([names(), before["traceparent"][-2:], carrier["traceparent"][-2:], carrier["tracestate"]]))
causal_otel.uninstall()
install(sampler="always_off")
with causal_otel.span("root"):
    assert not causal_otel.keep()
assert names() == []
causal_otel.uninstall()
install()
with causal_otel.span("root"):
    assert causal_otel.keep()
"""
    )
    assert found == [["early", "root"], "02", "03", "causal=keep"]


def test_left_to_the_collector() -> None:
    """With keep_errors=collector everything is recorded here, whatever the sampler and the caller say."""
    found = _run(
        """
install(sampler="always_off", keep_errors="collector")
header = {"traceparent": f"00-{1:032x}-{1:016x}-00"}
with causal_otel.span("root", parent=propagate.extract(header)):
    pass
print(json.dumps([names(), share(), causal_otel.status().sampling.source]))
"""
    )
    assert found == [["root"], 1.0, "keep_errors=collector"]
