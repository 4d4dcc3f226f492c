"""The id of an attempt's span: everybody who knows the message computes the same, and each attempt has its own."""

from __future__ import annotations

from typing import Any

import pytest

from causal_otel.patches.celery.identity import first_delivery, header_member, span_id

REQUEST = {"id": "a", "retries": 0, "causal-published": 1764418150.25, "delivery_info": {"redelivered": False}}
MEMBER = {**REQUEST, "group": "g", "group_index": 2, "causal-chord-size": 3}


@pytest.mark.parametrize(
    "other",
    [
        {"id": "b"},
        {"retries": 1},
        {"causal-published": 1764418150.5},
        {"group": "g", "group_index": 2, "causal-chord-size": 3},
        {"group": "g", "group_index": 0, "causal-chord-size": 3},
    ],
    ids=str,
)
def test_attempts_differ(other: dict[str, Any]) -> None:
    """Another task, attempt, message or member has another id, and the same one the same."""
    assert span_id({**REQUEST, **other}) == span_id({**REQUEST, **other}) != span_id(REQUEST)


def test_id_is_one_of_a_span() -> None:
    """It has 64 bits and is not zero."""
    found = span_id(REQUEST)
    assert found is not None
    assert 0 < found < 1 << 64


def test_what_is_delivered_again_has_no_id_of_its_own() -> None:
    """An attempt at a message that was delivered before has a random id, and knows that of the first one."""
    again = {**REQUEST, "delivery_info": {"redelivered": True}}
    assert span_id(again) is None
    assert first_delivery(again) == span_id(REQUEST)


def test_what_several_workers_get_has_no_id() -> None:
    """Each attempt at it has a random id, and none of them is the first."""
    assert span_id({**REQUEST, "causal-fanout": True}) is None
    assert first_delivery({**MEMBER, "headers": {"causal-fanout": True}}) is None


@pytest.mark.parametrize("published", [None, "yesterday"])
def test_message_of_another_sender(published: Any) -> None:
    """Where the sender is not traced nothing is known, nor with a header that is no time."""
    assert span_id({**REQUEST, "causal-published": published}) is None
    assert first_delivery({"id": "a", "group": "g", "group_index": 0}) is None


def test_headers_of_the_first_task_protocol() -> None:
    """Its message keeps headers apart."""
    request = {**REQUEST, "headers": {"causal-published": REQUEST["causal-published"]}}
    del request["causal-published"]
    assert span_id(request) == span_id(REQUEST)


def test_member_of_a_header() -> None:
    """A member's id follows from its group and place there, that of later attempts from the task."""
    assert span_id(MEMBER) == span_id({**MEMBER, "causal-published": 5.0}) == header_member("g", 2)
    for later in ({"retries": 1}, {"replaced_task_nesting": 1}):
        assert span_id({**MEMBER, **later}) not in (header_member("g", 2), None)


def test_member_of_a_group_without_a_body() -> None:
    """Its id follows from its message: groups inside groups share indices, and nobody is to compute it."""
    assert span_id({**REQUEST, "group": "g", "group_index": 2}) == span_id(REQUEST)
