"""Canvases of every kind, on a real broker with real workers: who sends each task, and what it is linked to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chain, chord, group
from opentelemetry.trace import SpanKind

from tests.patches import celery_app
from tests.patches.celery_app import app
from tests.patches.celery_canvases import SENT, Story, assert_story, told
from tests.patches.celery_worker import executions, hexadecimal, running_worker
from tests.recording import recording
from tests.span_relations import assert_span, trace_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.services.received import ReceivedSpans


def s(name: str) -> Any:
    """The signature of a task that takes whatever it is given."""
    return app.signature(f"tests.{name}")


def ab(role: str) -> str:
    return f"{role}:a {role}:b"


CANVASES: dict[str, tuple[Callable[[], Any], Story]] = {
    "chain": (
        lambda: chain(s("a"), s("b"), s("c")),
        {"a": ("request", ""), "b": ("a", "chain:a"), "c": ("b", "chain:b")},
    ),
    "group": (lambda: group(s("a"), s("b")), {"a": SENT, "b": SENT}),
    "group of a generator": (lambda: group(s(name) for name in "ab"), {"a": SENT, "b": SENT}),
    "group in a group": (lambda: group(group(s("a"), s("b")), s("c")), {"a": SENT, "b": SENT, "c": SENT}),
    "chain in a group": (
        lambda: group(chain(s("a"), s("b")), s("c")),
        {"a": SENT, "b": ("a", "chain:a"), "c": SENT},
    ),
    "group that ends a chain": (
        lambda: chain(s("a"), group(s("b"), s("c"))),
        {"a": ("request", ""), "b": ("a", "chain:a"), "c": ("a", "chain:a")},
    ),
    "group in a chain": (
        lambda: chain(s("a"), group(s("b"), s("c")), s("d")),
        {
            "a": ("request", ""),
            "b": ("a", "chain:a"),
            "c": ("a", "chain:a"),
            "d": ("b|c", "chord-header:b chord-header:c"),
        },
    ),
    "chain of groups": (
        lambda: chain(group(s("a"), s("b")), group(s("c"), s("d")), s("e")),
        {
            "a": SENT,
            "b": SENT,
            "c": ("a|b", ab("chord-header")),
            "d": ("a|b", ab("chord-header")),
            "e": ("c|d", "chord-header:c chord-header:d"),
        },
    ),
    "chord": (
        lambda: chord([s("a"), s("b")], s("c")),
        {"a": SENT, "b": SENT, "c": ("a|b", ab("chord-header"))},
    ),
    "chord of a generator": (
        lambda: chord((s(name) for name in "ab"), s("c")),
        {"a": SENT, "b": SENT, "c": ("a|b", ab("chord-header"))},
    ),
    "chord whose body is immutable": (
        lambda: chord([s("a"), s("b")], app.signature("tests.c", immutable=True)),
        {"a": SENT, "b": SENT, "c": ("a|b", ab("chord-header"))},
    ),
    "chord with a group in its header": (
        lambda: chord([group(s("a"), s("b")), s("c")], s("d")),
        {"a": SENT, "b": SENT, "c": SENT, "d": ("a|b|c", f"{ab('chord-header')} chord-header:c")},
    ),
    "chord of chains": (
        lambda: chord([chain(s("a"), s("b")), s("c")], s("d")),
        {"a": SENT, "b": ("a", "chain:a"), "c": SENT, "d": ("b|c", "chord-header:b chord-header:c")},
    ),
    "chord whose body is a chain": (
        lambda: chord([s("a"), s("b")], chain(s("c"), s("d"))),
        {"a": SENT, "b": SENT, "c": ("a|b", ab("chord-header")), "d": ("c", "chain:c")},
    ),
    "chord whose body is a group": (
        lambda: chord([s("a"), s("b")], group(s("c"), s("d"))),
        {"a": SENT, "b": SENT, "c": ("a|b", ab("chord-header")), "d": ("a|b", ab("chord-header"))},
    ),
    "chord in a chain": (
        lambda: chain(s("a"), chord([s("b"), s("c")], s("d")), s("e")),
        {
            "a": ("request", ""),
            "b": ("a", "chain:a"),
            "c": ("a", "chain:a"),
            "d": ("b|c", "chord-header:b chord-header:c"),
            "e": ("d", "chain:d"),
        },
    ),
    "chord in a chord": (
        lambda: chord([chord([s("a"), s("b")], s("c")), s("d")], s("e")),
        {
            "a": SENT,
            "b": SENT,
            "c": ("a|b", ab("chord-header")),
            "d": SENT,
            "e": ("c|d", "chord-header:c chord-header:d"),
        },
    ),
    "chord in a chain in a chord": (
        lambda: chord([chain(s("a"), group(s("b"), s("c")), s("d")), s("e")], s("f")),
        {
            "a": SENT,
            "b": ("a", "chain:a"),
            "c": ("a", "chain:a"),
            "d": ("b|c", "chord-header:b chord-header:c"),
            "e": SENT,
            "f": ("d|e", "chord-header:d chord-header:e"),
        },
    ),
    "link": (lambda: s("a").set(link=s("b")), {"a": ("request", ""), "b": ("a", "callback:a")}),
    "two links": (
        lambda: s("a").set(link=[s("b"), s("c")]),
        {"a": ("request", ""), "b": ("a", "callback:a"), "c": ("a", "callback:a")},
    ),
    "link to a chain": (
        lambda: s("a").set(link=chain(s("b"), s("c"))),
        {"a": ("request", ""), "b": ("a", "callback:a"), "c": ("b", "chain:b")},
    ),
}


@pytest.mark.parametrize("canvas", CANVASES)
def test_canvas(broker: str, shared_worker: None, receiver: ReceivedSpans, canvas: str) -> None:
    """All of a canvas is one trace; each task is below what has sent it, and linked to what else it follows from."""
    make, expected = CANVASES[canvas]
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            make().apply_async()
        assert_story(told(recorded, receiver, len(expected)), expected)


def test_nothing_is_linked_that_is_not_there(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """Before Celery 5.4 the members of a generator's group have no index: where nobody knows them, there is no link."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            chord((s(name) for name in "ab"), s("c")).apply_async()
        spans: dict[str, Any] = {
            span["span_id"]: span for span in told(recorded, receiver, 3) if isinstance(span, dict)
        }
    [body] = [span for span in spans.values() if span["name"] == "process tests.c"]
    assert {link["span_id"] for link in body["links"]} <= set(spans)
    assert_span(body, spans[body["parent_span_id"] or ""])


@pytest.mark.parametrize(
    ("make", "root", "tasks"),
    [
        (lambda: group(s("a"), s("b")), "send group", "ab"),
        (lambda: chord([s("a"), s("b")], s("c")), "send chord", "abc"),
        (lambda: chain(group(s("a"), s("b")), s("c")), "send chord", "abc"),
    ],
    ids=["group", "chord", "chain that begins with a group"],
)
def test_canvas_outside_any_span(
    broker: str, shared_worker: None, receiver: ReceivedSpans, make: Callable[[], Any], root: str, tasks: str
) -> None:
    """A canvas that is sent outside any span is one trace: there is a span around what would be several."""
    with recording(["celery"]) as recorded:
        make().apply_async()
        span = recorded.only(root)
        assert span.kind is SpanKind.INTERNAL
        assert_span(span, None)
        expected = {name: SENT for name in tasks if name != "c"}
        if "c" in tasks:
            expected["c"] = ("a|b", ab("chord-header"))
        assert_story(told(recorded, receiver, len(tasks), root), expected, root)


def rows() -> Iterator[Any]:
    """Signatures that are made of the rows of a database, which is lost."""
    for _ in range(3):
        yield s("a")
    raise LookupError("no more rows")


@pytest.mark.parametrize(
    ("make", "root"),
    [
        (lambda tasks: group(tasks), "send group"),
        (lambda tasks: chord(tasks, s("c")), "send chord"),
        (lambda tasks: chord([s("a"), group(tasks)], s("c")), "send chord"),
        (lambda tasks: group(s("a"), group(tasks)), "send group"),
    ],
    ids=["group", "chord", "group in a chord", "group in a group"],
)
def test_what_a_generator_raises_is_the_user_s(broker: str, make: Callable[[Iterator[Any]], Any], root: str) -> None:
    """It is not asked before Celery does so: what it raises is raised once, and by it alone."""
    with recording(["celery"]) as recorded:
        with pytest.raises(LookupError, match="no more rows"):
            make(rows()).apply_async(queue="nobody")
        span = recorded.only(root)
    assert_span(span, None, error="LookupError")


def test_error_callbacks(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """A task that is sent because another one has failed is linked to that."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            app.send_task("tests.fail", ("no",), link_error=s("rescue"))
        expected = {"fail": ("request", ""), "rescue": ("fail", "errback:fail")}
        assert_story(told(recorded, receiver, 2), expected, errors={"fail": "ValueError"})


def test_error_callback_that_is_called_in_the_worker(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """One that takes the exception as well is no message: what it does is below the attempt that has failed."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            app.send_task("tests.fail", ("no",), link_error=s("mourn"))
        where = trace_id(recorded.only("request"))
    failed, mourned = sorted(
        receiver.wait_for(lambda spans: len(spans) >= 2, trace_id=where), key=lambda span: span["name"], reverse=True
    )
    assert (failed["name"], mourned["name"]) == ("process tests.fail", "mourn")
    assert_span(failed, recorded.only("send tests.fail"), error="ValueError")
    assert_span(mourned, failed)


def test_chord_whose_header_fails(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """So is one that is sent because a chord's header has failed: its body is never sent."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            chord([app.signature("tests.fail", ("no",))], s("b").on_error(s("rescue"))).apply_async()
        expected = {"fail": SENT, "rescue": ("fail", "errback:fail")}
        assert_story(told(recorded, receiver, 2), expected, errors={"fail": "ValueError"})


@pytest.mark.long
def test_chord_that_is_polled(broker: str, receiver: ReceivedSpans, tmp_path: Path) -> None:
    """Where the result backend has no counters a task polls the header: it is no span, and the body is as ever."""
    local = Celery("local", broker=broker, backend=f"file://{tmp_path}", set_as_current=False)
    local.conf.update(task_default_queue="polled", result_chord_retry_interval=0.2)
    variables = {"CELERY_RESULT_BACKEND": f"file://{tmp_path}"}
    expected = {"a": SENT, "b": SENT, "c": ("request", ab("chord-header"))}
    with running_worker(broker, receiver, "polled", variables=variables) as worker:
        with recording(["celery"]) as recorded:
            with recorded.tracer.start_as_current_span("request"):
                header = [local.signature("tests.a"), local.signature("tests.b")]
                chord(header, local.signature("tests.c"), app=local).apply_async()
            assert_story(told(recorded, receiver, 3), expected)
        assert "celery.chord_unlock" in worker.output()


def test_chunks_and_starmap(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """Each chunk is a member of a group, and executed by a task of Celery's own; a map is one."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request") as request:
            chunks = celery_app.add.chunks([(n, n) for n in range(4)], 2).apply_async()
            result = celery_app.add.starmap([(1, 2)]).apply_async()
        assert (chunks.get(timeout=60), result.get(timeout=60)) == ([[0, 2], [4, 6]], [3])
        *sends, _ = recorded.spans
        executed = executions(receiver, sends[0], 3)
    parents = {hexadecimal(send): send for send in sends}
    linked = []
    for span in executed:
        assert span["name"] == "process celery.starmap"
        send = parents.pop(span["parent_span_id"] or "")
        assert_span(send, request)
        assert_span(span, send)
        linked.append([(link["attributes"], link["span_id"]) for link in span["links"]])
    to_request = ({"causal.link": "group"}, f"{request.get_span_context().span_id:016x}")
    assert sorted(linked) == [[], [to_request], [to_request]]
