"""Both APIs against what a true Jaeger answered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.collector.jaeger.conftest import GOLDEN
from tests.collector.jaeger.meaning import meaning


@dataclass(frozen=True)
class Case:
    name: str
    method: str
    target: str
    headers: dict[str, str]
    body: Any
    status: int
    answer: Any

    def send(self, client: httpx.Client) -> httpx.Response:
        content = self.body
        if isinstance(content, dict):
            content = (GOLDEN / "input" / content["file"]).read_bytes()
        headers = {"Accept-Encoding": "identity"} | self.headers
        return client.request(self.method, self.target, headers=headers, content=content)


def cases() -> list[Case]:
    answers = [json.loads(line) for line in (GOLDEN / "answers.jsonl").read_text("utf-8").splitlines()]
    lines = map(json.loads, (GOLDEN / "cases.jsonl").read_text("utf-8").splitlines())
    return [Case(**line | {"answer": answers[line["answer"]]}) for line in lines]


def _nothing(data: Any = None, *errors: dict[str, Any]) -> dict[str, Any]:
    return {"data": data, "total": 0, "limit": 0, "offset": 0, "errors": list(errors) or None}


def _operations(*pairs: tuple[str, str]) -> dict[str, Any]:
    data = [{"name": name, "spanKind": kind} for name, kind in pairs]
    return _nothing(data) | {"total": len(data)}


PUBLISH, PROCESS, CART = ("orders publish", "producer"), ("orders process", "consumer"), ("POST /cart", "server")
NO_SUCH_PATH = "a path that is no API gets JSON; Jaeger serves its page"
WRONG_METHOD = "a wrong method gets 405 and JSON; Jaeger serves its page"
KIND = "Badger forgets the kinds of operations"
ONE_SPAN = "tag, name and duration have to hold for one span; Badger is content with several of a trace"
ORDER = "later Jaeger versions say 400 to a start that is not before the end"
MADE_UP = "Jaeger's demonstration data"
MEASURED = "the store sums up how calls went; that Jaeger had no store of metrics"

DIFFERENT: dict[str, tuple[int, Any, str]] = {
    "analytics": (404, None, NO_SUCH_PATH),
    "unknown_api": (404, None, NO_SUCH_PATH),
    "unknown_v3": (404, None, NO_SUCH_PATH),
    "archive_get": (405, None, WRONG_METHOD),
    "transform_get": (405, None, WRONG_METHOD),
    "trace_options": (200, None, "what a path takes; Jaeger serves its page"),
    "trace_head": (200, None, "as GET, without the body; Jaeger serves its page"),
    "deep_dependencies": (501, None, MADE_UP),
    "quality_metrics": (501, None, MADE_UP),
    "metrics_calls": (200, None, MEASURED),
    "metrics_latencies": (200, None, MEASURED),
    "metrics_minstep": (200, _nothing(3_600_000), MEASURED),
    "operations": (200, _operations(CART, PROCESS, PUBLISH), KIND),
    "operations_kind_bogus": (200, _operations(), KIND),
    "operations_kind_client": (200, _operations(), KIND),
    "operations_kind_internal": (200, _operations(), KIND),
    "operations_kind_producer": (200, _operations(PUBLISH), KIND),
    "operations_kind_server": (200, _operations(CART), KIND),
    "v3_operations": (200, {"operations": _operations(CART, PROCESS, PUBLISH)["data"]}, KIND),
    "v3_operations_kind": (200, {"operations": _operations(CART)["data"]}, KIND),
    "v3_operations_kind_bad": (200, {"operations": []}, KIND),
    "traces_dur_split_across_spans": (200, _nothing([]), ONE_SPAN),
    "traces_op_tag_split_across_spans": (200, _nothing([]), ONE_SPAN),
    "traces_two_tags_split_across_spans": (200, _nothing([]), ONE_SPAN),
    "traces_start_gt_end": (400, None, ORDER),
    "v3_traces_start_gt_end": (400, None, ORDER),
    "v3_traces_camel": (200, None, "later versions take camelCase as well"),
    "v3_traces_attributes_json_bad": (400, None, "later versions read query.attributes; 2.13 does not"),
    "transform_bad": (400, None, "the JSON reader's own words"),
}
"""Status, document (None: see below) and reason, where this server is meant to answer otherwise than Jaeger 2.13."""


ALIKE = [case for case in cases() if case.name not in DIFFERENT and case.name != "root"]  # the page is not an API


@pytest.mark.parametrize("case", ALIKE, ids=lambda case: case.name)
def test_answers_as_jaeger_does(golden_client: httpx.Client, case: Case) -> None:
    """A request gets the status and the meaning of Jaeger's answer, as JSON."""
    response = case.send(golden_client)
    assert response.status_code == case.status, response.text
    # Jaeger 2.13 labels errors, and all of v3, as plain text; later versions as what they are.
    assert response.headers["content-type"] == "application/json"
    assert meaning(response.json()) == case.answer


@pytest.mark.parametrize("case", [case for case in cases() if case.name in DIFFERENT], ids=lambda case: case.name)
def test_differs_from_jaeger_on_purpose(golden_client: httpx.Client, case: Case) -> None:
    """Where Jaeger 2.13 should not be followed, the answer is the one that is meant, and not Jaeger's."""
    status, document, reason = DIFFERENT[case.name]
    response = case.send(golden_client)
    assert response.status_code == status, reason
    if document is not None:
        assert meaning(response.json()) == document != case.answer
    elif response.content:
        assert response.headers["content-type"] == "application/json"
        answer = response.json()
        assert status == 200 or answer.get("errors") or answer["error"]["httpCode"] == status
        assert meaning(answer) != case.answer


def test_every_difference_is_a_case() -> None:
    """The list of differences names nothing that Jaeger was not asked."""
    assert set(DIFFERENT) <= {case.name for case in cases()}
