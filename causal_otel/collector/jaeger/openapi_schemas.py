"""The schemas of :mod:`.openapi`: what the query APIs answer."""

from __future__ import annotations

from typing import Any

__all__ = ["KINDS", "Schema", "enveloped", "object_of", "ref", "schemas"]

Schema = dict[str, Any]

KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"]


def ref(name: str) -> Schema:
    """A reference to one of :func:`schemas`."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(properties: Schema, *required: str) -> Schema:
    """An object of which those properties are required, or all."""
    return {"type": "object", "properties": properties, "required": list(required or properties)}


def enveloped(data: Schema) -> Schema:
    """The envelope of the older API."""
    errors = {"anyOf": [{"type": "array", "items": ref("LegacyFault")}, {"type": "null"}]}
    count = {"type": "integer", "minimum": 0}
    return object_of({"data": data, "total": count, "limit": count, "offset": count, "errors": errors})


def schemas() -> Schema:
    """The schemas by name."""
    string, integer, count = {"type": "string"}, {"type": "integer"}, {"type": "integer", "minimum": 0}
    nanoseconds, hexadecimal = {"type": "string", "pattern": "^[0-9]+$"}, {"type": "string", "pattern": "^[0-9a-f]*$"}
    trace_id = {"type": "string", "pattern": "^([0-9a-f]{16}|[0-9a-f]{32})$"}
    warnings = {"anyOf": [{"type": "array", "items": string}, {"type": "null"}]}

    def several(name: str) -> Schema:
        return {"type": "array", "items": ref(name)}

    return {
        "LegacyError": enveloped({"type": "null"}),
        "LegacyFault": object_of({"code": integer, "msg": string, "traceID": string}, "msg"),
        "LegacyTrace": object_of(
            {
                "traceID": trace_id,
                "spans": several("LegacySpan"),
                "processes": {
                    "type": "object",
                    "additionalProperties": object_of({"serviceName": string, "tags": several("Tag")}),
                },
                "warnings": warnings,
            }
        ),
        "LegacySpan": object_of(
            {
                "traceID": trace_id,
                "spanID": hexadecimal,
                "operationName": string,
                "references": {
                    "type": "array",
                    "items": object_of(
                        {"refType": {"enum": ["CHILD_OF", "FOLLOWS_FROM"]}, "traceID": trace_id, "spanID": hexadecimal}
                    ),
                },
                "startTime": count,
                "duration": count,
                "tags": several("Tag"),
                "logs": {"type": "array", "items": object_of({"timestamp": count, "fields": several("Tag")})},
                "processID": string,
                "warnings": warnings,
            }
        ),
        "Tag": object_of(
            {
                "key": string,
                "type": {"enum": ["string", "bool", "int64", "float64", "binary"]},
                "value": {"type": ["string", "boolean", "number"]},
            }
        ),
        "Operation": object_of({"name": string, "spanKind": {"enum": ["", *KINDS]}}),
        "Dependency": object_of({"parent": string, "child": string, "callCount": count}),
        "MetricFamily": object_of(
            {
                "name": string,
                "type": {"const": "GAUGE"},
                "help": string,
                "metrics": {
                    "type": "array",
                    "items": object_of(
                        {
                            "labels": {"type": "array", "items": object_of({"name": string, "value": string})},
                            "metricPoints": several("MetricPoint"),
                        }
                    ),
                },
            }
        ),
        "MetricPoint": object_of(
            {
                "gaugeValue": object_of({"doubleValue": {"anyOf": [{"type": "number"}, {"const": "NaN"}]}}),
                "timestamp": {"type": "string", "format": "date-time"},
            }
        ),
        "Error": object_of({"error": object_of({"httpCode": integer, "message": string})}),
        "Summary": object_of(
            {
                "traceId": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                "rootServiceName": string,
                "rootOperationName": string,
                "minStartTimeUnixNano": nanoseconds,
                "maxEndTimeUnixNano": nanoseconds,
                "spanCount": count,
                "errorSpanCount": count,
                "orphanSpanCount": count,
                "services": {
                    "type": "array",
                    "items": object_of({"name": string, "spanCount": count, "errorSpanCount": count}),
                },
            }
        ),
        "TracesData": object_of({"resourceSpans": {"type": "array", "items": ref("ResourceSpans")}}),
        "ResourceSpans": object_of(
            {
                "resource": object_of({"attributes": several("KeyValue")}),
                "scopeSpans": {
                    "type": "array",
                    "items": object_of({"scope": {"type": "object"}, "spans": several("Span")}, "spans"),
                },
            }
        ),
        "Span": object_of(
            {
                "traceId": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                "spanId": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
                "parentSpanId": hexadecimal,
                "name": string,
                "kind": count,
                "startTimeUnixNano": nanoseconds,
                "endTimeUnixNano": nanoseconds,
                "attributes": several("KeyValue"),
                "events": {"type": "array", "items": {"type": "object"}},
                "links": {"type": "array", "items": {"type": "object"}},
                "status": {"type": "object"},
            },
            "traceId",
            "spanId",
        ),
        "KeyValue": object_of(
            {"key": string, "value": {"type": "object", "minProperties": 1, "maxProperties": 1}}, "value"
        ),
    }
