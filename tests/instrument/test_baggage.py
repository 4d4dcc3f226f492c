"""Baggage at the border: it goes to allowed hosts only, and what comes in is read within limits and never logged."""

from __future__ import annotations

import logging
import string
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource

import causal_otel
from causal_otel.engine.context import attach, current
from causal_otel.engine.provider import TracerProvider
from causal_otel.instrument.baggage import BaggageBorder
from tests.patches.http_server import echo_app, serve

BAGGAGE = baggage.set_baggage("tenant", "red", Context())


@pytest.mark.parametrize(
    ("hosts", "host", "allowed"),
    [
        (("internal",), "127.0.0.1", True),
        (("internal",), "[::1]", True),
        (("internal",), "10.1.2.3", True),
        (("internal",), "fd00::1", True),
        (("internal",), "orders", True),
        (("internal",), "localhost", True),
        (("internal",), "orders.shop.svc", True),
        (("internal",), "Orders.Internal.", True),
        (("internal",), "8.8.8.8", False),
        (("internal",), "api.example.com", False),
        (("none",), "localhost", False),
        ((), "localhost", False),
        (("*",), "api.example.com", True),
        (("api.example.com",), "API.example.com", True),
        (("*.example.com",), "api.example.com", True),
        (("*.example.com",), "example.com", False),
        (("*.example.com",), "badexample.com", False),
    ],
)
def test_outgoing(hosts: tuple[str, ...], host: str, allowed: bool) -> None:
    """Baggage is in the context for an allowed host, and nothing else is changed for any."""
    where = Context({**BAGGAGE, "other": 1})
    found = BaggageBorder(hosts).outgoing(where, host)
    assert dict(baggage.get_all(found)) == ({"tenant": "red"} if allowed else {})
    assert found["other"] == 1
    assert BaggageBorder(hosts).outgoing(Context(), host) == Context()


@pytest.fixture
def installed() -> Iterator[None]:
    """httpx, traced; baggage may go to one name only."""
    provider = TracerProvider(resource=Resource({}))
    found = causal_otel.install(patches=["httpx"], tracer_provider=provider, baggage_hosts=["127.0.0.1"])
    yield
    found.uninstall()
    provider.shutdown()


@pytest.mark.usefixtures("installed")
def test_setting() -> None:
    """Requests carry baggage to the hosts that install() was told of, and the trace context to every host."""
    with serve(echo_app) as url, causal_otel.span("root"), httpx.Client(trust_env=False) as client:
        activation = attach(baggage.set_baggage("tenant", "red", current()))
        allowed = dict(client.get(f"{url}/echo").json()["headers"])
        denied = dict(client.get(f"{url.replace('127.0.0.1', 'localhost')}/echo").json()["headers"])
        activation.end()
    assert allowed["baggage"] == "tenant=red"
    assert "baggage" not in denied
    assert "traceparent" in allowed
    assert "traceparent" in denied


def test_incoming() -> None:
    """Entries that are none are left out, too many are cut off, and what is too long is not read at all."""
    border = BaggageBorder(max_bytes=100)
    assert border.incoming("a=1, b = 2;prop=x;flag ,c=%20") == "a=1, b = 2;prop=x;flag ,c=%20"
    assert border.incoming("a=1,no entry,=2,b=ü,c=3;d e") == "a=1"
    assert border.incoming("nothing") is None
    assert border.incoming("a=" + "x" * 99) is None
    assert BaggageBorder(max_bytes=0).incoming("a=1") is None
    many = BaggageBorder().incoming(",".join(f"k{number}=v" for number in range(500)))
    assert many is not None
    assert many.count(",") == 179
    assert BaggageBorder().incoming("a=" + "x" * 5000 + ",b=1") == "b=1"


@given(header=st.text(st.sampled_from(string.printable + "ü=,;%="), max_size=60))
@settings(deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_logged(header: str, caplog: pytest.LogCaptureFixture) -> None:
    """The API's propagator, which logs what it cannot read, finds nothing to complain of in what is let through."""
    read = BaggageBorder().incoming(header)
    with caplog.at_level(logging.DEBUG):
        W3CBaggagePropagator().extract({} if read is None else {"baggage": read}, Context())
    assert caplog.records == []
