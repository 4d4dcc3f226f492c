"""OTLP JSON: what the specification shows, round trips, and input that means harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from causal_otel.collector.receive import otlp_json


def _pairs(values: dict[str, AnyValue]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value) for key, value in values.items()]


def _trace(*spans: Span) -> TracesData:
    return TracesData(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[span])]) for span in spans])


_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_TIMES = st.integers(0, 2**64 - 1)
_VALUES = st.recursive(
    st.builds(AnyValue)
    | st.builds(AnyValue, string_value=_TEXT)
    | st.builds(AnyValue, bool_value=st.booleans())
    | st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1))
    | st.builds(AnyValue, double_value=st.floats(allow_nan=False))
    | st.builds(AnyValue, bytes_value=st.binary(max_size=8)),
    lambda values: (
        st.lists(values, max_size=3).map(lambda items: AnyValue(array_value=ArrayValue(values=items)))
        | st.dictionaries(_TEXT, values, max_size=3).map(
            lambda items: AnyValue(kvlist_value=KeyValueList(values=_pairs(items)))
        )
    ),
    max_leaves=5,
)
_ATTRIBUTES = st.dictionaries(_TEXT, _VALUES, max_size=3).map(_pairs)
_SPANS = st.builds(
    Span,
    trace_id=st.binary(min_size=16, max_size=16),
    span_id=st.binary(min_size=8, max_size=8),
    parent_span_id=st.just(b"") | st.binary(min_size=8, max_size=8).filter(any),
    trace_state=_TEXT,
    flags=st.integers(0, 2**32 - 1),
    name=_TEXT,
    kind=st.integers(0, 5),
    start_time_unix_nano=_TIMES,
    end_time_unix_nano=_TIMES,
    attributes=_ATTRIBUTES,
    dropped_attributes_count=st.integers(0, 2**32 - 1),
    events=st.lists(st.builds(Span.Event, time_unix_nano=_TIMES, name=_TEXT, attributes=_ATTRIBUTES), max_size=2),
    links=st.lists(st.builds(Span.Link, trace_id=st.binary(), span_id=st.binary(), attributes=_ATTRIBUTES), max_size=2),
    status=st.builds(Status, message=_TEXT, code=st.sampled_from(Status.StatusCode.values())),
)
_TRACES = st.lists(_SPANS, max_size=3).map(lambda spans: _trace(*spans))


def _with_span(**fields: Any) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]}).encode()


def _span(**fields: Any) -> Span:
    (span,) = otlp_json.loads(_with_span(**fields)).resource_spans[0].scope_spans[0].spans
    assert isinstance(span, Span)
    return span


def _nested(depth: int) -> bytes:
    value = '{"arrayValue":{"values":[' * depth + '{"intValue":1}' + "]}}" * depth
    return f'{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"k","value":{value}}}]}}}}]}}'.encode()


@given(_TRACES)
def test_what_is_written_is_read(trace: TracesData) -> None:
    """A trace comes back as it was, and is one line."""
    written = otlp_json.dumps(trace)
    assert b"\n" not in written
    assert otlp_json.loads(written) == trace


@given(_TRACES)
def test_it_is_protobufs_json_but_for_ids(trace: TracesData) -> None:
    """Everything else than ids is written as protobuf's own writer does it, with integers for enums."""
    for group in trace.resource_spans:
        for scoped in group.scope_spans:
            for span in scoped.spans:
                span.ClearField("links")
                for name in ("trace_id", "span_id", "parent_span_id"):
                    span.ClearField(name)
    assert otlp_json.to_dict(trace) == MessageToDict(trace, use_integers_for_enums=True)


def test_ids_are_hexadecimal_enums_and_times_as_otlp_wants() -> None:
    """Ids are lowercase hexadecimal, enums integers, nanoseconds strings, bytes Base64, names lowerCamelCase."""
    span = Span(
        trace_id=bytes(range(16)),
        span_id=b"\xee" * 8,
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=1_700_000_000_000_000_001,
        attributes=_pairs({"k": AnyValue(bytes_value=b"\xff\xfe"), "n": AnyValue(int_value=7)}),
        links=[Span.Link(trace_id=b"\xaa" * 16, span_id=b"\xbb" * 8)],
    )
    trace = _trace(span)
    assert otlp_json.to_dict(trace)["resourceSpans"][0]["scopeSpans"][0]["spans"] == [
        {
            "traceId": "000102030405060708090a0b0c0d0e0f",
            "spanId": "ee" * 8,
            "kind": 2,
            "startTimeUnixNano": "1700000000000000001",
            "attributes": [
                {"key": "k", "value": {"bytesValue": "//4="}},
                {"key": "n", "value": {"intValue": "7"}},
            ],
            "links": [{"traceId": "aa" * 16, "spanId": "bb" * 8}],
        }
    ]


def test_parent_of_zeros_is_none() -> None:
    """A parent's id that is all zero means that there is none, as it does in other spellings of traces."""
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [{"spanId": "ee" * 8, "parentSpanId": "00" * 8}]}]}]}
    assert otlp_json.loads(json.dumps(document).encode()) == _trace(Span(span_id=b"\xee" * 8))


def test_other_spellings_are_read() -> None:
    """Integers may be numbers, enums names, ids uppercase, names as in the protocol files; null is the default."""
    span = _span(
        traceId="AB" * 16,
        span_id="cd" * 8,
        kind="SPAN_KIND_CLIENT",
        startTimeUnixNano=5,
        endTimeUnixNano=7.0,
        flags="257",
        name=None,
        attributes=[{"key": "b", "value": {"bytesValue": "_-8"}}, {"key": "d", "value": {"doubleValue": "Infinity"}}],
    )
    assert (span.trace_id, span.span_id) == (b"\xab" * 16, b"\xcd" * 8)
    assert (span.kind, span.start_time_unix_nano, span.end_time_unix_nano, span.flags) == (3, 5, 7, 257)
    assert span.attributes[0].value.bytes_value == b"\xff\xef"
    assert span.attributes[1].value.double_value == float("inf")


def test_unknown_fields_are_ignored() -> None:
    """A later protocol may say more, on any level, and have more enums."""
    span = _span(kind=42, later={"a": [1]}, attributes=[{"key": "k", "value": {"later": 1}}])
    assert span.kind == 42
    assert list(span.attributes) == [KeyValue(key="k", value=AnyValue())]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON: Expecting value"),
        (b"{", "not JSON: "),
        (b'{"a": "\xff"}', "not JSON: not in UTF-8 at byte 7"),
        (b"[]", "not OTLP JSON: an object is needed, not a list"),
        (b'{"resourceSpans": {}}', "resourceSpans: a list is needed, not an object"),
        (b'{"resourceSpans": ["x"]}', r"resourceSpans\[0\]: an object is needed, not 'x'"),
        (b'{"resourceSpans": [null]}', r"resourceSpans\[0\]: an object is needed, not null"),
        (_with_span(traceId="xyz"), r"resourceSpans\[0\].scopeSpans\[0\].spans\[0\].traceId: hexadecimal digits"),
        (_with_span(traceId="abc"), "hexadecimal"),
        (_with_span(traceId="qrs="), "hexadecimal digits are needed .OTLP has no Base64 here., not 'qrs='"),
        (_with_span(spanId=5), "spanId: hexadecimal"),
        (_with_span(name=5), "name: a string is needed, not 5"),
        (_with_span(name="\ud800"), "name: half of a surrogate pair"),
        (_with_span(kind="SERVER"), "kind: a whole number is needed, not 'SERVER'"),
        (_with_span(kind=True), "kind: a whole number"),
        (_with_span(startTimeUnixNano=-1), "startTimeUnixNano: out of range: -1"),
        (_with_span(startTimeUnixNano=10**60), "out of range: a number that large"),
        (_with_span(startTimeUnixNano=1.5), "a whole number is needed, not 1.5"),
        (_with_span(startTimeUnixNano="9" * 5000), "a whole number is needed, not '9999"),
        (_with_span(flags=2**32), "flags: out of range"),
        (_with_span(links=[{"traceId": "-"}]), r"links\[0\].traceId: hexadecimal"),
        (_with_span(attributes=[{"value": {"boolValue": 1}}]), r"attributes\[0\].value.boolValue: true or false"),
        (_with_span(attributes=[{"value": {"doubleValue": "x"}}]), "doubleValue: a number is needed, not 'x'"),
        (_with_span(attributes=[{"value": {"bytesValue": "é"}}]), "bytesValue: Base64 is needed"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON: "),
    ],
)
def test_errors_say_what_and_where(data: bytes, message: str) -> None:
    """What cannot be read is named, with its place."""
    with pytest.raises(ValueError, match=message):
        otlp_json.loads(data)


def test_errors_are_short() -> None:
    """An error does not repeat a large document."""
    with pytest.raises(ValueError, match="traceId") as caught:
        otlp_json.loads(_with_span(traceId="x" * 1_000_000))
    assert len(str(caught.value)) < 300


def test_nesting_ends_where_protobuf_ends_it() -> None:
    """What is read can be sent on in binary; one level more is an error here already."""
    readable = [depth for depth in range(60) if _readable(_nested(depth))]
    assert readable == list(range(readable[-1] + 1))
    assert readable[-1] > 40
    trace = otlp_json.loads(_nested(readable[-1]))
    assert TracesData.FromString(trace.SerializeToString()) == trace
    assert otlp_json.loads(otlp_json.dumps(trace)) == trace


def _readable(data: bytes) -> bool:
    try:
        otlp_json.loads(data)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"a":' * 200_000, _nested(20_000)])
def test_no_depth_is_too_much(data: bytes) -> None:
    """Nesting without end is an error like any other, also where nobody looks at the values."""
    with pytest.raises(ValueError, match="not "):
        otlp_json.loads(data)


_KEYS = (
    "resourceSpans scopeSpans spans traceId attributes key value intValue status arrayValue values kind events links "
    "scope resource bytesValue x"
)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS.split()), inner, max_size=3),
        max_leaves=20,
    )
)
def test_any_json_is_read_or_refused(document: Any) -> None:
    """Whatever JSON comes, the answer is a trace or a ValueError."""
    try:
        trace = otlp_json.loads(json.dumps(document).encode())
    except ValueError:
        return
    assert TracesData.FromString(trace.SerializeToString()).ByteSize() == trace.ByteSize()
