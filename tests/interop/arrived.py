"""What a back end has of the spans that a program recorded, by Jaeger's stable API ``/api/v3/traces``."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.docs.pages import ROOT
from tests.faults.programs import environment
from tests.waiting import wait_until

__all__ = ["Sent", "fetched", "same", "send", "send_in_vain", "wait_for"]

_KINDS = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
_STATUSES = {0: "UNSET", 1: "OK", 2: "ERROR"}


@dataclass
class Sent:
    """What a program has recorded, and what it has written on standard error."""

    spans: list[dict[str, Any]]
    complaints: str

    def named(self, name: str) -> list[dict[str, Any]]:
        """The spans of a name."""
        return [span for span in self.spans if span["name"] == name]

    def trace_of(self, name: str) -> str:
        """The id of the only trace with a span of that name."""
        (span,) = self.named(name)
        return str(span["trace"])

    def of_trace(self, trace_id: str) -> list[dict[str, Any]]:
        """The spans of a trace."""
        return [span for span in self.spans if span["trace"] == trace_id]


def send(number: int, others: int = 0, /, **variables: str) -> Sent:
    """Run tests/interop/everything.py with these variables; all that it recorded was taken."""
    sent, taken = _run(number, others, 60, variables)
    assert taken, sent.complaints
    return sent


def send_in_vain(number: int, /, **variables: str) -> Sent:
    """The same, where nothing is taken."""
    sent, taken = _run(number, 0, 5, variables)
    assert not taken
    return sent


def _run(number: int, others: int, seconds: int, variables: Mapping[str, str]) -> tuple[Sent, bool]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.interop.everything", str(number), str(others), str(seconds)],
        cwd=ROOT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return Sent(told["spans"], done.stderr), told["exported"]


def fetched(query: str, trace_id: str, **headers: str) -> list[dict[str, Any]]:
    """The spans that the back end at ``query`` has of a trace, in the form of :class:`Sent`, with their service."""
    # Who the back end is does not matter here: it is the one that the test has started.
    url = f"{query}/api/v3/traces/{trace_id}"
    response = httpx.get(url, headers=headers, trust_env=False, timeout=60, verify=False)
    if response.status_code == 404:
        return []
    assert response.status_code == 200, response.text
    return list(_spans(response.json()))


def wait_for(query: str, trace_id: str, count: int, **headers: str) -> list[dict[str, Any]]:
    """:func:`fetched`, when it has as many spans."""
    spans: list[dict[str, Any]] = []

    def all_there() -> bool:
        spans[:] = fetched(query, trace_id, **headers)
        return len(spans) >= count

    wait_until(all_there, lambda: f"{len(spans)} of {count} spans have arrived: {spans}")
    return spans


def same(arrived: list[dict[str, Any]], sent: list[dict[str, Any]], *, model: bool = False) -> None:
    """Assert that what has arrived is what was sent: ids, parents, kinds, times, attributes, events, links, statuses.

    Args:
        arrived: what :func:`fetched` has returned.
        sent: what the program has recorded.
        model: the store has Jaeger's own model, as Badger does. There a list is its JSON, and links have no
            attributes of their own.
    """
    by_id = {span["id"]: span for span in arrived}
    assert len(by_id) == len(arrived) == len(sent)
    for span in sent:
        found = by_id[span["id"]]
        expected = _in_model(span) if model else span
        found = {**found, "attributes": {k: v for k, v in found["attributes"].items() if not _added(k)}}
        different = {key: (found[key], expected[key]) for key in expected if found[key] != expected[key]}
        assert different == {}, different


def _in_model(span: dict[str, Any]) -> dict[str, Any]:
    def value(given: Any) -> Any:
        return json.dumps(given, separators=(",", ":"), ensure_ascii=False) if isinstance(given, list) else given

    return {
        **span,
        "attributes": {key: value(given) for key, given in span["attributes"].items()},
        "links": [[*ids, {"opentracing.ref_type": "follows_from"}] for *ids, _ in span["links"]],
    }


def _added(key: str) -> bool:
    """Whether an attribute is one that Jaeger adds to a span while it stores it."""
    return key.startswith("otel.scope.") or key in ("span.kind", "internal.span.format", "@jaeger@warnings")


def _spans(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in answer["result"]["resourceSpans"]:
        service = _attributes(group["resource"]["attributes"])["service.name"]
        for scoped in group["scopeSpans"]:
            for span in scoped["spans"]:
                status = span.get("status", {})
                yield {
                    "service": service,
                    "trace": span["traceId"],
                    "id": span["spanId"],
                    "parent": span.get("parentSpanId", ""),
                    "name": span["name"],
                    "kind": _KINDS[span["kind"]],
                    "start": int(span["startTimeUnixNano"]),
                    "end": int(span["endTimeUnixNano"]),
                    "attributes": _attributes(span.get("attributes", [])),
                    "events": [
                        [event["name"], int(event["timeUnixNano"]), _attributes(event.get("attributes", []))]
                        for event in span.get("events", [])
                    ],
                    "links": [
                        [link["traceId"], link["spanId"], _attributes(link.get("attributes", []))]
                        for link in span.get("links", [])
                    ],
                    "status": [_STATUSES[status.get("code", 0)], status.get("message", "")],
                }


def _attributes(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: _value(pair["value"]) for pair in pairs}


def _value(value: dict[str, Any]) -> Any:
    if not value:
        return ""
    ((kind, given),) = value.items()
    if kind == "intValue":
        return int(given)
    if kind == "arrayValue":
        return [_value(each) for each in given.get("values", [])]
    return base64.b64decode(given) if kind == "bytesValue" else given
