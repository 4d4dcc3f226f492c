"""What the tests of canvases share: spans of tasks whose names say which they are, and what these follow from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.patches.celery_worker import hexadecimal
from tests.span_relations import assert_span, trace_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.recording import Recording
    from tests.services.received import ReceivedSpan, ReceivedSpans

__all__ = ["SENT", "Story", "assert_story", "links_of", "told"]

Story = dict[str, tuple[str, str]]
"""Of each task, by its name: whose span sends it, ``a|b`` for either of two, and the links of its attempt, each as
``role:task``, separated by spaces. ``request`` is the span in which the canvas is applied."""

SENT = ("request", "group:request")
"""A member of a group that is applied in the request."""


def told(recorded: Recording, receiver: ReceivedSpans, tasks: int, root: str = "request") -> list[Any]:
    """All spans of a canvas that has so many tasks, each sent and executed once: this process's first.

    Args:
        recorded: this process's spans.
        receiver: has those of the workers.
        tasks: how many.
        root: the name of the span in this process that is the root.
    """
    ours = recorded.spans
    sent = sum(span.name.startswith("send tests.") for span in ours)
    where = trace_id(recorded.only(root))
    theirs = receiver.wait_for(lambda spans: len(spans) >= 2 * tasks - sent, trace_id=where)
    assert len(theirs) == 2 * tasks - sent, [span["name"] for span in theirs]
    assert {span.context.trace_id for span in ours} == {recorded.only(root).context.trace_id}
    return [*ours, *theirs]


def assert_story(
    spans: list[Any], expected: Story, root: str = "request", errors: Mapping[str, str] | None = None
) -> None:
    """Assert that each task has one span where it is sent and one where it is executed, with parents and links.

    Args:
        spans: all of them, with different names.
        expected: what each follows from.
        root: the name of the root.
        errors: the ``error.type`` of tasks that fail.
    """
    by_name = {_name(span): span for span in spans}
    assert len(by_name) == len(spans), sorted(map(_name, spans))
    ids = {_id(span): name for name, span in by_name.items()}
    for task, (sender, links) in expected.items():
        send, executed = by_name[f"send tests.{task}"], by_name[f"process tests.{task}"]
        who = ids[_parent(send) or ""]
        assert who in {_span_name(each, root) for each in sender.split("|")}, f"{task} is sent by {who}"
        sends = by_name[who]
        if who == root and isinstance(send, dict):
            sends = sends.get_span_context()  # it is over: the task that polls a chord's header has sent this one
        assert_span(send, sends)
        assert_span(executed, send, error=(errors or {}).get(task))
        found = sorted(f"{link['attributes']['causal.link']}:{ids[link['span_id']]}" for link in executed["links"])
        wanted = [link.partition(":") for link in links.split()]
        assert found == sorted(f"{role}:{_span_name(to, root)}" for role, _, to in wanted), task
    sent_or_run = {name for name in by_name if name.startswith(("send tests.", "process tests."))}
    assert len(sent_or_run) == 2 * len(expected), by_name.keys()


def links_of(span: ReceivedSpan) -> list[tuple[str, str]]:
    """The links of a span, sorted: their roles and the ids of the spans."""
    return sorted((link["attributes"]["causal.link"], link["span_id"]) for link in span["links"])


def _span_name(task: str, root: str) -> str:
    return root if task == "request" else f"process tests.{task}"


def _name(span: Any) -> str:
    name: str = span["name"] if isinstance(span, dict) else span.name
    return name


def _id(span: ReceivedSpan | Any) -> str:
    found: str = span["span_id"] if isinstance(span, dict) else hexadecimal(span)
    return found


def _parent(span: ReceivedSpan | Any) -> str | None:
    if isinstance(span, dict):
        found: str | None = span["parent_span_id"]
        return found
    return None if span.parent is None else f"{span.parent.span_id:016x}"
