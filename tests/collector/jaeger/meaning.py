"""What an answer of Jaeger's APIs says, without what changes between identical requests or is lost on its way there."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["meaning"]


def meaning(document: Any) -> Any:
    """An answer reduced to what is compared.

    Of the older API: the order of spans, processes, services, operations and dependencies is free; of warnings only
    their presence counts, for they are prose. Tags, fields, references and traces keep their order.

    Of the newer one: the order of resources, scopes, spans, attributes, events and links is free. Jaeger's Badger store
    writes lists and maps as strings of JSON and loses attributes of scopes and links, flags and dropped counts;
    what keeps them is held against the rest.
    """
    if not isinstance(document, dict):
        return document
    if "result" in document:
        return {"result": _otlp(document["result"])}
    if "data" in document:
        return document | {"data": _data(document["data"])}
    return {key: _sorted(value) if isinstance(value, list) else value for key, value in document.items()}


def _data(data: Any) -> Any:
    if not isinstance(data, list):
        return data
    if all(isinstance(each, dict) and "spans" in each for each in data):
        return [_trace(trace) for trace in data]
    return _sorted(data)


def _sorted(items: list[Any]) -> list[Any]:
    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))


def _trace(trace: dict[str, Any]) -> dict[str, Any]:
    spans = [
        {key: value for key, value in span.items() if key != "processID"}
        | {"process": trace["processes"][span["processID"]], "warnings": bool(span["warnings"])}
        for span in trace["spans"]
    ]
    return {
        "traceID": trace["traceID"],
        "spans": sorted(spans, key=lambda span: str(span["spanID"])),
        "warnings": bool(trace["warnings"]),
    }


def _otlp(result: dict[str, Any]) -> list[Any]:
    spans = []
    for group in result["resourceSpans"]:
        resource = _attributes(group["resource"])
        for scoped in group["scopeSpans"]:
            scope = {key: value for key, value in scoped.get("scope", {}).items() if key in ("name", "version")}
            spans += [_span(span) | {"resource": resource, "scope": scope} for span in scoped["spans"]]
    return sorted(spans, key=lambda span: (str(span["traceId"]), str(span["spanId"])))


def _span(span: dict[str, Any]) -> dict[str, Any]:
    kept = ("traceId", "spanId", "parentSpanId", "traceState", "name", "startTimeUnixNano")
    start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
    events = [
        {"time": event["timeUnixNano"], "name": event.get("name", ""), "attributes": _attributes(event)}
        for event in span.get("events", ())
    ]
    return {key: span[key] for key in kept if key in span} | {
        "kind": span.get("kind", 0),
        "duration": 0 if end - start <= 1 else end - start,  # Badger makes 1 ns of 0
        "attributes": _attributes(span),
        "events": _sorted(events),
        "links": _sorted([[link["traceId"], link["spanId"]] for link in span.get("links", ())]),
        "status": span.get("status", {}),
    }


def _attributes(owner: dict[str, Any]) -> dict[str, Any]:
    return {
        pair["key"]: _value(pair.get("value", {}))
        for pair in owner.get("attributes", ())
        if pair["key"] != "@jaeger@warnings"
    }


def _value(value: dict[str, Any]) -> list[Any]:
    if "arrayValue" in value or "kvlistValue" in value:
        return ["stringValue", json.dumps(_plain(value), separators=(",", ":"))]
    return next(([kind, content] for kind, content in value.items()), ["stringValue", ""])


def _plain(value: dict[str, Any]) -> Any:
    if "arrayValue" in value:
        return [_plain(item) for item in value["arrayValue"].get("values", ())]
    if "kvlistValue" in value:
        return {pair["key"]: _plain(pair["value"]) for pair in value["kvlistValue"].get("values", ())}
    (content,) = value.values()
    if "intValue" in value:
        return int(content)
    return int(content) if "doubleValue" in value and float(content).is_integer() else content
