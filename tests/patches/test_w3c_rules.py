"""W3C Trace Context, level 2, rule by rule: through a FastAPI endpoint that calls on, over sockets, by raw headers.

What is asked is written by hand, what the endpoint calls is a second server that tells the headers it was sent. The
headers are read by the OpenTelemetry API's own rules, which depart from the recommendation in these places:

- A key of tracestate has level 1's grammar: one that begins with a digit is valid only before an ``@``, there is one
  ``@`` at most, with up to 241 characters before it and 14 after. Level 2 allows all of that.
- One member that is not valid, or one key that is there twice, empties the whole tracestate, and the log has a warning
  of the first such member for each request. The recommendation allows to discard the whole.
- A tracestate of more than 8,192 characters is dropped as a whole, and not its longest members first. The
  recommendation asks for 512 at least.
- Whitespace around traceparent is removed; so do servers themselves.

https://www.w3.org/TR/trace-context-2/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from tests.patches.asgi_requests import SENDER, SPAN_ID, TRACE_ID, TRACEPARENT
from tests.patches.http_server import echo_app, serve
from tests.patches.raw_http import ask, connected, read
from tests.recording import Recording
from tests.span_relations import assert_span, trace_id, traceparent
from tests.waiting import wait_until

PATCHES = ["asgi", "httpx"]

Header = tuple[str, str]
STATE = ("tracestate", "a=1")


class Passed(NamedTuple):
    """What has become of a request's headers."""

    spans: list[ReadableSpan]
    """The endpoint's SERVER span, the CLIENT span below it and the other server's; none if nothing was recorded."""
    traceparent: str
    """What was sent on."""
    tracestate: str | None


Pass = Callable[..., Passed]


def state_of(span: ReadableSpan) -> str:
    """A span's tracestate, as it is written."""
    found = span.get_span_context()
    assert found is not None
    return found.trace_state.to_header()


@pytest.fixture(scope="module")
def front() -> Iterator[str]:
    """The URL of an endpoint that calls on."""
    app = FastAPI()
    with serve(echo_app) as behind:

        @app.get("/on")
        async def on() -> Any:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(f"{behind}/echo")).json()["headers"]

        with serve(app) as url:
            yield url


@pytest.fixture
def passed(recorded: Recording, front: str) -> Pass:
    """Ask the endpoint with some headers, and assert what holds whatever they are."""

    def on(*headers: Header, recorded_spans: int = 3) -> Passed:
        with connected(front) as connection:
            ask(connection, "/on", headers=(*headers, ("Connection", "close")))
            head, _, body = read(connection).partition(b"\r\n\r\n")
        assert head.split()[1] == b"200", head
        sent = json.loads(body)
        wait_until(lambda: len(recorded.spans) == recorded_spans, recorded.names)
        [told] = [value for name, value in sent if name.lower() == "traceparent"]
        states = [value for name, value in sent if name.lower() == "tracestate"]
        assert len(states) <= 1
        spans = sorted(recorded.spans, key=lambda span: span.start_time or 0)
        if spans:
            server, client, behind = spans
            assert [span.kind for span in spans] == [SpanKind.SERVER, SpanKind.CLIENT, SpanKind.SERVER]
            assert_span(client, server)
            assert_span(behind, client.get_span_context())
            assert told == traceparent(client)
            assert state_of(client) == state_of(server)
        return Passed(spans, told, states[0] if states else None)

    return on


def _parent(value: str) -> tuple[Header]:
    return (("traceparent", value),)


CONTINUED = {
    "version 00": _parent(TRACEPARENT),
    "version 01": _parent(f"01-{TRACE_ID}-{SPAN_ID}-01"),
    "version cc": _parent(f"cc-{TRACE_ID}-{SPAN_ID}-01"),
    "version fe": _parent(f"fe-{TRACE_ID}-{SPAN_ID}-01"),
    "a higher version with another field": _parent(f"cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-brings"),
    "a higher version with an empty field": _parent(f"01-{TRACE_ID}-{SPAN_ID}-01-"),
    "spaces around": _parent(f"  {TRACEPARENT}  "),
    "tabs around": _parent(f"\t{TRACEPARENT}\t"),
    "name in upper case": (("TRACEPARENT", TRACEPARENT),),
    "name in mixed case": (("TraceParent", TRACEPARENT),),
}

NOT_CONTINUED = {
    "none": (),
    "empty": _parent(""),
    "version ff": _parent(f"ff-{TRACE_ID}-{SPAN_ID}-01"),
    "version in upper case": _parent(f"CC-{TRACE_ID}-{SPAN_ID}-01"),
    "version of one digit": _parent(f"0-{TRACE_ID}-{SPAN_ID}-01"),
    "version of three digits": _parent(f"000-{TRACE_ID}-{SPAN_ID}-01"),
    "version of other characters": _parent(f".0-{TRACE_ID}-{SPAN_ID}-01"),
    "trace id in upper case": _parent(f"00-{TRACE_ID.upper()}-{SPAN_ID}-01"),
    "span id in upper case": _parent(f"00-{TRACE_ID}-{SPAN_ID.upper()}-01"),
    "flags in upper case": _parent(f"00-{TRACE_ID}-{SPAN_ID}-0B"),
    "trace id of zeros": _parent(f"00-{'0' * 32}-{SPAN_ID}-01"),
    "span id of zeros": _parent(f"00-{TRACE_ID}-{'0' * 16}-01"),
    "trace id of zeros in a higher version": _parent(f"cc-{'0' * 32}-{SPAN_ID}-01"),
    "trace id too short": _parent(f"00-{TRACE_ID[1:]}-{SPAN_ID}-01"),
    "trace id too long": _parent(f"00-0{TRACE_ID}-{SPAN_ID}-01"),
    "trace id of other characters": _parent(f"00-{TRACE_ID[1:]}.-{SPAN_ID}-01"),
    "span id too short": _parent(f"00-{TRACE_ID}-{SPAN_ID[1:]}-01"),
    "span id too long": _parent(f"00-{TRACE_ID}-0{SPAN_ID}-01"),
    "span id of other characters": _parent(f"00-{TRACE_ID}-{SPAN_ID[1:]}g-01"),
    "flags too short": _parent(f"00-{TRACE_ID}-{SPAN_ID}-1"),
    "flags too long": _parent(f"00-{TRACE_ID}-{SPAN_ID}-001"),
    "flags of other characters": _parent(f"00-{TRACE_ID}-{SPAN_ID}-.1"),
    "no flags": _parent(f"00-{TRACE_ID}-{SPAN_ID}"),
    "another field in version 00": _parent(f"{TRACEPARENT}-what-the-future-brings"),
    "an empty field in version 00": _parent(f"{TRACEPARENT}-"),
    "another separator": _parent(TRACEPARENT.replace("-", "_")),
    "another separator before a higher version's fields": _parent(f"cc-{TRACE_ID}-{SPAN_ID}-01.future"),
    "no separator before a higher version's fields": _parent(f"cc-{TRACE_ID}-{SPAN_ID}-01future"),
    "a space inside": _parent(TRACEPARENT.replace("-", "- ", 1)),
    "two that are equal": (("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT)),
    "two that differ": (("traceparent", TRACEPARENT), ("Traceparent", f"00-{'1' * 32}-{SPAN_ID}-01")),
    "two in one": _parent(f"{TRACEPARENT},{TRACEPARENT}"),
    "two, one of which is empty": (("traceparent", TRACEPARENT), ("traceparent", "")),
    "another name": (("trace-parent", TRACEPARENT), ("trace_parent", TRACEPARENT)),
}


@pytest.mark.parametrize("headers", CONTINUED.values(), ids=list(CONTINUED))
def test_a_valid_traceparent_is_continued(passed: Pass, headers: tuple[Header, ...]) -> None:
    """The sender is the parent, its trace goes on in version 00 with our span's id, and tracestate goes along."""
    found = passed(*headers, STATE)
    server, *_ = found.spans
    assert_span(server, SENDER)
    assert server.parent is not None
    assert server.parent.is_remote
    assert found.traceparent.startswith(f"00-{TRACE_ID}-")
    assert found.traceparent.endswith("-01")
    assert found.tracestate == "a=1"


@pytest.mark.parametrize("headers", NOT_CONTINUED.values(), ids=list(NOT_CONTINUED))
def test_an_invalid_traceparent_begins_a_trace(passed: Pass, headers: tuple[Header, ...]) -> None:
    """The request is served as a root with an id of its own, and tracestate, which belongs to nothing, is dropped."""
    found = passed(*headers, STATE)
    server, *_ = found.spans
    assert_span(server, None)
    assert trace_id(server) not in (TRACE_ID, "1" * 32, "0" * 32)
    assert found.tracestate is None


@pytest.mark.parametrize(("flags", "on"), [("01", "01"), ("03", "03"), ("ff", "03"), ("05", "01"), ("81", "01")])
def test_flags_of_a_sampled_trace(passed: Pass, flags: str, on: str) -> None:
    """Sampled and random go on as they came; bits that nobody has defined are zero on the way out."""
    found = passed(*_parent(f"00-{TRACE_ID}-{SPAN_ID}-{flags}"), STATE)
    assert_span(found.spans[0], SENDER)
    assert found.traceparent.endswith(f"-{on}")


@pytest.mark.parametrize(("flags", "on"), [("00", "00"), ("02", "02"), ("fe", "02"), ("04", "00"), ("80", "00")])
def test_flags_of_a_trace_that_is_not_sampled(passed: Pass, flags: str, on: str) -> None:
    """Nothing is recorded, while the trace, its flags and its tracestate go on."""
    found = passed(*_parent(f"00-{TRACE_ID}-{SPAN_ID}-{flags}"), STATE, recorded_spans=0)
    version, trace, span, told = found.traceparent.split("-")
    assert (version, trace, told) == ("00", TRACE_ID, on)
    assert int(span, 16) != 0
    assert found.tracestate == "a=1"


@pytest.mark.parametrize("version", ["01", "cc"])
def test_flags_of_a_higher_version(passed: Pass, version: str) -> None:
    """Of a version that is not known, sampled is understood, here that it is not; version 00 is what goes out."""
    found = passed(*_parent(f"{version}-{TRACE_ID}-{SPAN_ID}-00-more"), recorded_spans=0)
    assert found.traceparent.startswith(f"00-{TRACE_ID}-")
    assert found.traceparent.endswith("-00")


def _members(count: int, first: int = 0) -> str:
    return ",".join(f"k{number}=v" for number in range(first, first + count))


def _same(value: str) -> tuple[list[str], str]:
    return [value], value


_PRINTABLE = "a=!\"#$%&'()*+-./0:;<>?@[\\]^_`a{|}~"

KEPT = {
    "one member": _same("congo=t61rcWkgMzE"),
    "members in order": _same("z=1,a=2,m=3"),
    "several headers in order": (["z=1", "b=2,a=3", "c=4"], "z=1,b=2,a=3,c=4"),
    "several headers, one of which is empty": (["a=1", "", "b=2"], "a=1,b=2"),
    "empty members": (["a=1,,b=2,"], "a=1,b=2"),
    "empty members with whitespace": ([" ,a=1, \t ,b=2,\t"], "a=1,b=2"),
    "spaces and tabs around members": (["a=1 \t, \tb=2\t,c=3"], "a=1,b=2,c=3"),
    "a space at the beginning of a value and inside": _same("a= 1 2"),
    "every character of a key": _same("a0_-*/=1"),
    "every character of a value": _same(_PRINTABLE),
    "the longest key": _same(f"{'k' * 256}=1"),
    "the longest value": _same(f"a={'v' * 256}"),
    "a tenant and a system": _same("fw529a3039@dt=FfFfFfFfFf"),
    "a tenant that begins with a digit": _same("0tenant_-*/@sys_-*/0=1"),
    "the longest tenant and system": _same(f"{'t' * 241}@{'s' * 14}=1"),
    "32 members": _same(_members(32)),
    "32 members in two headers": ([_members(16), _members(16, 16)], _members(32)),
    "32 members and empty ones": ([f",{_members(32)},,"], _members(32)),
    "512 characters": _same(f"a={'v' * 253},b={'v' * 254}"),
    "more than 512 characters": _same(",".join(f"k{number}={'v' * 200}" for number in range(32))),
}

DROPPED = {
    "empty": [""],
    "only commas": [",,,"],
    "33 members": [_members(33)],
    "33 members in two headers": [_members(16), _members(17, 16)],
    "a key twice": ["a=1,b=2,a=3"],
    "a key twice in two headers": ["a=1", "b=2,a=1"],
    "no value": ["a=1,b="],
    "a value of spaces": ["a=1,b=   "],
    "no key": ["a=1,=2"],
    "no equals sign": ["a=1,b"],
    "an equals sign in a value": ["a=1=2"],
    "a tab in a value": ["a=1\t2"],
    "a value that is not ASCII": ["a=\xe9"],
    "a key that is not ASCII": ["\xe9=1"],
    "a key in upper case": ["A=1"],
    "a key with an upper case letter": ["foO=1"],
    "a key with a dot": ["a.b=1"],
    "a key with a space": ["a b=1"],
    "a space before the equals sign": ["a =1"],
    "a key too long": [f"{'k' * 257}=1"],
    "a value too long": [f"a={'v' * 257}"],
    "no tenant": ["@system=1"],
    "no system": ["tenant@=1"],
    "members between semicolons": ["a=1;b=2=3"],
    "more than 8,192 characters": [",".join(f"k{number}={'v' * 254}" for number in range(32))],
}

OF_LEVEL_2 = {
    "a key that begins with a digit": "1a=1",
    "two at signs": "a@b@c=1",
    "a tenant of more than 241 characters": f"{'t' * 242}@s=1",
    "a system of more than 14 characters": f"t@{'s' * 15}=1",
    "a system that begins with a digit": "t@1s=1",
}


@pytest.mark.parametrize(("sent", "on"), KEPT.values(), ids=list(KEPT))
def test_a_valid_tracestate_goes_on(passed: Pass, caplog: pytest.LogCaptureFixture, sent: list[str], on: str) -> None:
    """It is on the spans and in what is sent on, in one header, in the order in which it came; nothing is logged."""
    found = passed(("traceparent", TRACEPARENT), *(("tracestate", value) for value in sent))
    assert_span(found.spans[0], SENDER)
    assert found.tracestate == on
    assert [state_of(span) for span in found.spans] == [on] * 3
    assert caplog.messages == []


@pytest.mark.parametrize("name", ["TRACESTATE", "TraceState"])
def test_the_case_of_its_name_is_no_matter(passed: Pass, name: str) -> None:
    """Headers whose names differ in case alone are one."""
    found = passed(("TraceParent", TRACEPARENT), (name, "a=1"), ("tracestate", "b=2"))
    assert_span(found.spans[0], SENDER)
    assert found.tracestate == "a=1,b=2"


@pytest.mark.parametrize("name", ["trace-state", "trace_state", "tracestates"])
def test_other_names_are_none_of_its(passed: Pass, name: str) -> None:
    """A header of a similar name is not read."""
    assert passed(("traceparent", TRACEPARENT), (name, "a=1")).tracestate is None


@pytest.mark.parametrize("order", [1, -1])
def test_it_may_come_before_or_after_traceparent(passed: Pass, order: int) -> None:
    """The order of different headers is no matter."""
    assert passed(*(("traceparent", TRACEPARENT), STATE)[::order]).tracestate == "a=1"


@pytest.mark.parametrize("sent", DROPPED.values(), ids=list(DROPPED))
def test_an_invalid_tracestate_is_dropped(passed: Pass, sent: list[str]) -> None:
    """All of it is, the parent is the sender all the same, and no header is sent on for it."""
    found = passed(("traceparent", TRACEPARENT), *(("tracestate", value) for value in sent))
    assert_span(found.spans[0], SENDER)
    assert found.tracestate is None
    assert not any(map(state_of, found.spans))


@pytest.mark.parametrize("sent", OF_LEVEL_2.values(), ids=list(OF_LEVEL_2))
def test_keys_that_only_level_2_allows_are_dropped(passed: Pass, sent: str) -> None:
    """The API's propagator takes them for invalid, as level 1 does; the parent holds."""
    found = passed(("traceparent", TRACEPARENT), ("tracestate", sent))
    assert_span(found.spans[0], SENDER)
    assert found.tracestate is None


def test_a_malformed_member_is_logged_once_a_request(passed: Pass, caplog: pytest.LogCaptureFixture) -> None:
    """The warning is the API's; the second server is sent nothing that it would warn of."""
    passed(("traceparent", TRACEPARENT), ("tracestate", "a=1,B=2,C=3"))
    assert caplog.messages == ["Member doesn't match the w3c identifiers format B=2"]


def test_a_tracestate_without_a_traceparent_is_dropped(passed: Pass) -> None:
    """It belongs to none, and the request begins a trace."""
    found = passed(STATE)
    assert_span(found.spans[0], None)
    assert found.tracestate is None
