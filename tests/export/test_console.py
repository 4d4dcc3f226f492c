"""The console: trees of complete traces on standard error, late and unfinished spans, and what could go wrong."""

from __future__ import annotations

import io
import multiprocessing
import re
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from rich.cells import cell_len

from causal_otel._internal import faults
from causal_otel.export.console import ConsoleExporter
from tests.export.printed import names_in_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import Tracer

    Make = Callable[..., tuple[Tracer, ConsoleExporter]]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes a tracer that prints, and its exporter."""
    providers = []

    def make(**options: float) -> tuple[Tracer, ConsoleExporter]:
        exporter = ConsoleExporter(**options)  # type: ignore[arg-type]
        provider = TracerProvider(resource=Resource({"service.name": "orders"}), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        providers.append(provider)
        return provider.get_tracer("t"), exporter

    yield make
    for provider in providers:
        provider.shutdown()


def _columns(text: str) -> list[list[str]]:
    """Each line's columns."""
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()]


def _remote(trace_id: int = 7) -> SpanContext:
    return SpanContext(trace_id, 0xAB, is_remote=True, trace_flags=TraceFlags(1))


class TestTree:
    def test_complete_trace(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """A trace is printed when its root ends: trace id, service, and each span with kind, times and attributes."""
        tracer, _ = make()
        root = tracer.start_span("POST /orders", kind=SpanKind.SERVER, start_time=1_000_000_000)
        inside = set_span_in_context(root)
        query = {"db.system.name": "postgresql", "db.query.text": "SELECT $1", "db.operation.name": "SELECT"}
        second = tracer.start_span("second", inside, start_time=1_004_000_000)
        first = tracer.start_span("SELECT", inside, SpanKind.CLIENT, query, start_time=1_001_000_000)
        deep = tracer.start_span("deep", set_span_in_context(first), start_time=1_001_500_000)
        deep.end(1_002_000_000)
        first.end(1_003_500_000)
        second.end(1_005_000_000)
        assert capsys.readouterr().err == ""
        root.set_attribute("http.response.status_code", 201)
        root.end(13_000_000_000)
        assert capsys.readouterr().err == textwrap.dedent(
            f"""\
            trace {root.get_span_context().trace_id:032x}  orders
            POST /orders          SERVER       +0.0 ms     12.0 s  http.response.status_code=201
            ├╴postgresql: SELECT  CLIENT       +1.0 ms     2.5 ms  db.query.text="SELECT $1"
            │ ╰╴deep              INTERNAL     +1.5 ms     0.5 ms
            ╰╴second              INTERNAL     +4.0 ms     1.0 ms
            """
        )

    def test_remote_parent_is_a_root_here(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """A span whose parent is in another process completes the trace in this one."""
        tracer, _ = make()
        entry = tracer.start_span("entry", set_span_in_context(NonRecordingSpan(_remote())))
        tracer.start_span("inner", set_span_in_context(entry)).end()
        entry.end()
        printed = capsys.readouterr().err
        assert printed.startswith(f"trace {7:032x}  orders\n")
        assert names_in_tree(printed) == ["entry", "╰╴inner"]

    def test_error(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """A failed span is marked, and says why before anything else."""
        tracer, _ = make()
        span = tracer.start_span("GET", attributes={"a": 1, "error.type": "WRONGTYPE"})
        span.set_status(StatusCode.ERROR, "no such thing")
        span.end()
        (_, (name, _, _, _, notes)) = _columns(capsys.readouterr().err)
        assert name == "✗ GET"
        assert notes == "'no such thing' error.type=WRONGTYPE a=1"

    def test_a_few_attributes(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """Only so many attributes are shown, long values are cut, and the rest is counted."""
        tracer, _ = make()
        tracer.start_span("x", attributes={"long": "y" * 500, **{f"k{number}": number for number in range(9)}}).end()
        (_, columns) = _columns(capsys.readouterr().err)
        assert columns[-1] == f"long={'y' * 59}… k0=0 k1=1 k2=2 k3=3 k4=4 +4 more"

    def test_an_attempt_at_a_task(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """What it is linked to comes first, then how it ended and how long it waited; its name tells the task."""
        tracer, _ = make()
        attempt = tracer.start_span("process job", links=[Link(_remote(), {"causal.link": "retry"}), Link(_remote())])
        attempt.set_attributes({"celery.task.name": "job", "k": 1, "causal.queue.wait": 2.5})
        attempt.set_attributes({"causal.prefetch.wait": 1.5, "celery.task.state": "RETRY"})
        attempt.end()
        found = f"{7:032x}/{0xAB:016x}"
        assert _columns(capsys.readouterr().err)[-1][-1] == (
            f"link=retry:{found} link={found} celery.task.state=RETRY "
            "causal.queue.wait=2.5 causal.prefetch.wait=1.5 k=1"
        )

    def test_nothing_moves_the_cursor(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """Control and bidirectional characters in names, descriptions, keys and values are not printed."""
        tracer, _ = make()
        bad = "a\x1b[2J\r\n\u202eb"
        span = tracer.start_span(bad, attributes={bad: bad, "list": [bad], "db.system.name": bad})
        span.set_status(StatusCode.ERROR, bad)
        span.end()
        printed = capsys.readouterr().err
        assert printed.count("\n") == 2
        assert not set(printed) & set("\x1b\r\u202e")

    def test_two_traces_at_once(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """Traces that overlap are printed apart."""
        tracer, _ = make()
        roots = [tracer.start_span(f"root {number}") for number in range(2)]
        for number, root in enumerate(roots):
            tracer.start_span(f"child {number}", set_span_in_context(root)).end()
        roots[1].end()
        assert names_in_tree(capsys.readouterr().err) == ["root 1", "╰╴child 1"]
        roots[0].end()
        assert names_in_tree(capsys.readouterr().err) == ["root 0", "╰╴child 0"]

    def test_batch_with_the_root_first(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """Spans of one batch are printed in one tree, in whatever order they are."""
        provider = TracerProvider(shutdown_on_exit=False)
        tracer, exporter = provider.get_tracer("t"), ConsoleExporter()
        root = tracer.start_span("root")
        child = tracer.start_span("child", set_span_in_context(root))
        root.end()
        child.end()
        assert exporter.export([root, child]) is SpanExportResult.SUCCESS  # type: ignore[list-item]
        assert names_in_tree(capsys.readouterr().err) == ["root", "╰╴child"]

    def test_deep_trace(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """A trace may be deeper than Python's stack, and its lines are not indented ever further."""
        tracer, _ = make()
        spans = [tracer.start_span("0")]
        for number in range(1, 1500):
            spans.append(tracer.start_span(str(number), set_span_in_context(spans[-1])))
        for span in reversed(spans):
            span.end()
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1501
        assert [line.split()[0].lstrip("╰╴") for line in lines[1:]] == [str(number) for number in range(1500)]
        assert max(map(len, lines)) < 100

    def test_wide_names(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """Columns stand below each other on a terminal, where some characters take two columns."""
        tracer, _ = make()
        root = tracer.start_span("注文を作成")
        tracer.start_span("abcdefgh", set_span_in_context(root)).end()
        root.end()
        _, *lines = capsys.readouterr().err.splitlines()
        assert [cell_len(line.partition("INTERNAL")[0]) for line in lines] == [12, 12]

    def test_our_own_spans(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Spans of our own provider are printed alike."""
        from causal_otel.engine.provider import TracerProvider as OurProvider

        provider = OurProvider(resource=Resource({"service.name": "orders"}))
        provider.add_span_processor(SimpleSpanProcessor(ConsoleExporter()))
        tracer = provider.get_tracer("t")
        with tracer.start_as_current_span("root"), tracer.start_as_current_span("child", attributes={"k": "v w"}):
            pass
        provider.shutdown()
        printed = capsys.readouterr().err
        assert names_in_tree(printed) == ["root", "╰╴child"]
        assert printed.endswith('  k="v w"\n')


class TestUnfinished:
    def test_late_span(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """A span that ends after its root is printed when it ends, with what is below it, and marked late."""
        tracer, _ = make()
        root = tracer.start_span("root")
        late = tracer.start_span("late", set_span_in_context(root))
        later = tracer.start_span("later", set_span_in_context(late))
        root.end()
        capsys.readouterr()
        tracer.start_span("below", set_span_in_context(late)).end()
        assert capsys.readouterr().err == ""
        late.end()
        printed = capsys.readouterr().err
        assert printed.splitlines()[0].endswith("  orders  late")
        assert names_in_tree(printed) == ["late", "╰╴below"]
        later.end()
        assert names_in_tree(capsys.readouterr().err) == ["later"]

    @pytest.mark.parametrize("leave", ["force_flush", "shutdown"])
    def test_flush_prints_the_rest(self, make: Make, capsys: pytest.CaptureFixture[str], leave: str) -> None:
        """Spans whose root has not ended are printed when flushed and at the end, once."""
        tracer, exporter = make()
        root = tracer.start_span("root")
        tracer.start_span("one", set_span_in_context(root)).end()
        two = tracer.start_span("two", set_span_in_context(root))
        tracer.start_span("three", set_span_in_context(two)).end()
        two.end()
        getattr(exporter, leave)()
        printed = capsys.readouterr().err
        assert printed.splitlines()[0].endswith("  orders  incomplete")
        assert names_in_tree(printed) == ["one", "two", "╰╴three"]
        getattr(exporter, leave)()
        assert capsys.readouterr().err == ""
        root.end()
        assert names_in_tree(capsys.readouterr().err) == ["root"]

    def test_too_many(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """When too many spans wait, those of the trace that has waited longest are printed."""
        tracer, exporter = make(max_spans=3)
        old, new = tracer.start_span("old root"), tracer.start_span("new root")
        for parent, name in ((old, "old 1"), (new, "new 1"), (old, "old 2")):
            tracer.start_span(name, set_span_in_context(parent)).end()
        assert capsys.readouterr().err == ""
        tracer.start_span("new 2", set_span_in_context(new)).end()
        assert names_in_tree(capsys.readouterr().err) == ["old 1", "old 2"]
        exporter.force_flush()
        assert names_in_tree(capsys.readouterr().err) == ["new 1", "new 2"]

    def test_too_old(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """Spans that have waited too long are printed when the next one ends."""
        tracer, _ = make(max_age=0.0)
        root = tracer.start_span("root")
        tracer.start_span("child", set_span_in_context(root)).end()
        assert names_in_tree(capsys.readouterr().err) == ["child"]

    def test_parents_in_a_circle(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Damaged spans, which name each other as parents, are printed and forgotten."""
        from opentelemetry.sdk.trace import ReadableSpan

        contexts = [SpanContext(7, number, is_remote=False, trace_flags=TraceFlags(1)) for number in (1, 2)]
        spans = [
            ReadableSpan(name, context=context, parent=parent, resource=Resource({}), start_time=1, end_time=2)
            for name, context, parent in zip("ab", contexts, reversed(contexts), strict=True)
        ]
        exporter = ConsoleExporter()
        exporter.export(spans)
        assert exporter.force_flush()
        assert names_in_tree(capsys.readouterr().err) == ["a", "b"]
        assert exporter.force_flush()
        assert capsys.readouterr().err == ""


class TestContained:
    def test_threads(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """Eight threads that trace at once get whole trees, one after another, and lose no span."""
        tracer, _ = make()

        def work(thread: int) -> None:
            for _ in range(40):
                with tracer.start_as_current_span(f"root {thread}"), tracer.start_as_current_span(f"child {thread}"):
                    pass

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 8 * 40 * 3
        for header, root, child in zip(*[iter(lines)] * 3, strict=True):
            assert header.startswith("trace ")
            assert child.split("  ")[0].removeprefix("╰╴child") == root.split("  ")[0].removeprefix("root")

    def test_span_that_ends_while_printing(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A span that ends inside the printing, as a garbage collection may have it, is printed next."""
        tracer, _ = make()

        class Stream(io.StringIO):
            def flush(self) -> None:
                if "inner" not in self.getvalue() and "outer" in self.getvalue():
                    tracer.start_span("inner").end()

        stream = Stream()
        monkeypatch.setattr(sys, "stderr", stream)
        tracer.start_span("outer").end()
        tracer.start_span("next").end()
        assert names_in_tree(stream.getvalue().replace("!", "")) == ["outer", "inner", "next"]

    @pytest.mark.parametrize("stream", ["closed", "none"])
    def test_no_standard_error(self, make: Make, monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
        """Without a standard error that can be written nothing is raised, and flushing says that it failed."""
        tracer, exporter = make()
        broken = io.StringIO()
        broken.close()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", None if stream == "none" else broken)
            tracer.start_span("x").end()
            root = tracer.start_span("root")
            tracer.start_span("y", set_span_in_context(root)).end()
            assert not exporter.force_flush()
            assert exporter.force_flush()  # nothing is left to be tried again

    def test_latin_stream(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A stream that has no box characters gets plain ones."""
        tracer, _ = make()
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="latin-1", errors="strict"))
        with tracer.start_as_current_span("root"):
            tracer.start_span("child →", attributes={"k": "☃"}).end()
        lines = raw.getvalue().decode("ascii").splitlines()
        assert lines[2].startswith("`-child \\u2192 ")
        assert lines[2].endswith("k=\\u2603")

    def test_span_that_cannot_be_read(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """A span that cannot be read costs no other one."""
        tracer, exporter = make()
        span = tracer.start_span("good")
        before = faults.counts().get("console", 0)
        assert exporter.export([object(), span]) is SpanExportResult.SUCCESS  # type: ignore[list-item]
        assert faults.counts()["console"] == before + 1
        assert names_in_tree(capsys.readouterr().err)[-1:] == ["good"]

    def test_forked_child(self, make: Make, capfd: pytest.CaptureFixture[str]) -> None:
        """A forked child prints its own spans when it leaves, and nothing of its parent's."""
        tracer, exporter = make()
        root = tracer.start_span("root")
        tracer.start_span("parent's", set_span_in_context(root)).end()
        child = multiprocessing.get_context("fork").Process(
            target=lambda: tracer.start_span("child's", set_span_in_context(root)).end()
        )
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert names_in_tree(capfd.readouterr().err) == ["child's"]
        exporter.force_flush()
        assert names_in_tree(capfd.readouterr().err) == ["parent's"]
