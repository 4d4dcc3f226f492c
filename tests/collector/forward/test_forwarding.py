"""A collector that sends everything on: to a far side that is there, down, slow, refusing, and back; and killed."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from causal_otel.testing.process import claim_port
from tests.collector.forward.sending import forward, names, send, settled
from tests.collector.records import log_request, record
from tests.collector.running import Running, one_span, running
from tests.collector.spans import request, span, traces
from tests.faults.scripted import answer, guard, hang, limit, partial, scripted
from tests.services.received import ReceivedSpans, receiver
from tests.waiting import wait_until

FarSide = Callable[[int], AbstractContextManager[ReceivedSpans]]
FAR_SIDES: dict[str, FarSide] = {"receiver": receiver}
"""Each runs a back end on a port of loopback, for as long as a block lasts. Further ones can stand beside it."""


@pytest.fixture(params=FAR_SIDES)
def far_side(request: pytest.FixtureRequest) -> FarSide:
    return FAR_SIDES[request.param]


def test_everything_is_sent_on(tmp_path: Path, far_side: FarSide) -> None:
    """Every span that a collector takes is at the far side too, with all that it has; log records stay here."""
    with far_side(0) as far, running(tmp_path, "--forward", far.endpoint) as collector:
        assert f"Sent on to:     {far.endpoint}/v1/traces" in collector.process.output()
        sent = send(collector, *range(1, 21))
        wait_until(lambda: names(far) == sent)
        assert [collector.trace(number) for number in (1, 20)] == [["span 1"], ["span 20"]]
        body = request(
            traces(
                span("rich", trace=99, kind=2, error="it broke", tags={"user.id": 7, "list": ["a", "b"]}),
                service="shop",
            )
        )
        assert collector.post(body).status_code == 200
        wait_until(lambda: "rich" in names(far))
        (rich,) = [each for each in far.spans() if each["name"] == "rich"]
        assert rich["service"] == "shop"
        assert rich["attributes"] == {"user.id": 7, "list": ["a", "b"]}
        assert (rich["kind"], rich["status"]["code"]) == ("SERVER", "ERROR")
        assert rich["end"] - rich["start"] > 0
        assert collector.post(log_request(record("here alone")), path="/v1/logs").status_code == 200
        exporter = GrpcExporter(collector.grpc, insecure=True)
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        provider.get_tracer("tests").start_span("by grpc").end()
        provider.shutdown()
        wait_until(lambda: "by grpc" in names(far))
        wait_until(lambda: settled(collector))
        status = forward(collector)
        assert status["spans"] == {"delivered": 22, "rejected": 0, "refused": 0, "too_large": 0, "dropped": 0}
        assert status["problem"] == ""
        metrics = collector.metrics()
        assert metrics['causal_forward_spans_total{outcome="delivered"}'] == 22
        assert metrics["causal_forward_queue_spans"] == metrics["causal_forward_failing"] == 0
        assert metrics["causal_forward_last_success_timestamp_seconds"] > 1e9


def test_the_far_side_is_down_and_comes_back(tmp_path: Path, far_side: FarSide) -> None:
    """While it is down, requests are acknowledged and wait on disk, through a restart too; then all arrive in order."""
    port = claim_port(None, "far side")
    url = f"http://127.0.0.1:{port}"
    with running(tmp_path, "--forward", url) as collector:
        sent = send(collector, *range(1, 31))
        wait_until(lambda: "refused" in str(forward(collector)["problem"]))
        status = forward(collector)
        assert (status["queue_requests"], status["queue_spans"]) == (30, 30)
        assert collector.metrics()["causal_forward_failing"] == 1
        assert collector.metrics()["causal_forward_queue_oldest_age_seconds"] > 0
        assert "cannot be sent on to" in collector.process.output()
        assert "Traces cannot be sent on" in collector.get("/status", accept="text/html").text
    with running(tmp_path, "--forward", url) as collector:
        assert forward(collector)["queue_spans"] == 30
        sent += send(collector, *range(31, 41))
        with far_side(port) as far:
            wait_until(lambda: names(far) == sent)
            wait_until(lambda: settled(collector))
            assert len(far.spans()) == 40  # nobody was killed, so each came once


def _send_until_it_dies(collector: Running, numbers: Iterator[int], acknowledged: list[str]) -> None:
    """Send one request after the other; what was acknowledged is noted."""
    with contextlib.suppress(httpx.TransportError):
        for number in numbers:
            acknowledged += send(collector, number)


def _wait_for_more(acknowledged: list[str], count: int) -> None:
    enough = len(acknowledged) + count
    wait_until(lambda: len(acknowledged) >= enough)


@pytest.mark.long
def test_kill_in_the_middle(tmp_path: Path, far_side: FarSide) -> None:
    """After kill -9 again and again, while it takes and sends, all acknowledged arrives, in order, and is kept."""
    port = claim_port(None, "far side")
    url = f"http://127.0.0.1:{port}"
    numbers = itertools.count(1)
    acknowledged: list[str] = []
    with contextlib.ExitStack() as stack:
        for life in range(4):
            if life == 1:  # the first one has found nobody there
                far = stack.enter_context(far_side(port))
            with running(tmp_path, "--forward", url) as collector:
                thread = threading.Thread(target=_send_until_it_dies, args=(collector, numbers, acknowledged))
                thread.start()
                _wait_for_more(acknowledged, 40)
                os.kill(collector.process.pid, signal.SIGKILL)
                assert collector.process.wait(20) == -signal.SIGKILL
                thread.join()
        with running(tmp_path, "--forward", url) as collector:
            wait_until(lambda: settled(collector))
            known = set(acknowledged)
            assert [name for name in names(far) if name in known] == acknowledged
            for name in (acknowledged[0], acknowledged[45], acknowledged[-1]):
                assert collector.trace(int(name.removeprefix("span "))) == [name]


@pytest.mark.long
def test_a_slow_far_side_slows_nobody(tmp_path: Path) -> None:
    """While the far side hangs, clients are acknowledged; when it answers again, everything goes, in order."""
    with scripted(hang) as far, running(tmp_path, "--forward", far.endpoint) as collector:
        sent = send(collector, 1)
        far.wait(1)
        sent += send(collector, *range(2, 12))
        assert forward(collector)["queue_spans"] == 11
        assert len(far.requests) == 1  # one after the other
        os.kill(collector.process.pid, signal.SIGTERM)  # an attempt that hangs does not hold it up for ever
        assert collector.process.wait(60) == 0
        far.then(answer(200))
        with running(tmp_path, "--forward", far.endpoint) as successor:
            wait_until(lambda: settled(successor))
            assert list(dict.fromkeys(far.names())) == sent


@pytest.mark.long
@pytest.mark.parametrize("status", [429, 503])
def test_a_far_side_that_asks_for_a_pause(tmp_path: Path, status: int) -> None:
    """After 429 and 503 it is left alone for as long as Retry-After says; then the same request comes again."""
    refusing = answer(status, {"Retry-After": "2"})
    with scripted(refusing, answer(200)) as far, running(tmp_path, "--forward", far.endpoint) as collector:
        sent = send(collector, 1, 2)
        wait_until(lambda: settled(collector))
        assert far.names() == [sent[0], *sent]
        assert far.requests[1].time - far.requests[0].time >= 2
        assert forward(collector)["spans"]["delivered"] == 2  # type: ignore[index]


def test_a_far_side_that_lets_nobody_in(tmp_path: Path) -> None:
    """401 loses nothing: all waits until the token is right, also where that takes another header and a restart."""
    with scripted(guard("Bearer good")) as far:
        options = ("--forward", far.endpoint, "--forward-header", "authorization=Bearer%20bad")
        with running(tmp_path, *options) as collector:
            sent = send(collector, 1, 2, 3)
            wait_until(lambda: "401" in str(forward(collector)["problem"]))
            assert forward(collector)["queue_spans"] == 3
            assert "Bearer" not in collector.process.output()
            assert "bad" not in str(forward(collector))
        environ = {"CAUSAL_OTEL_COLLECTOR_FORWARD_HEADER": "authorization=Bearer%20good,x-tenant=a"}
        with running(tmp_path, "--forward", far.endpoint, environ=environ) as collector:
            wait_until(lambda: settled(collector))
        accepted = [each for each in far.requests if each.headers.get("authorization") == "Bearer good"]
        assert [name for each in accepted for name in each.names] == sent
        assert {each.headers["x-tenant"] for each in accepted} == {"a"}
        assert {each.headers["content-encoding"] for each in accepted} == {"gzip"}


def test_a_request_that_is_too_large(tmp_path: Path) -> None:
    """After 413 the halves are sent, in order, as far as it takes; a single span that is too large is counted."""
    bodies = [span(f"span {number}", trace=number, tags={"x": "y" * 300}) for number in range(1, 9)]
    huge = span("huge", trace=50, tags={"x": "y" * 5000})
    with scripted(limit(1500)) as far, running(tmp_path, "--forward", far.endpoint) as collector:
        assert collector.post(request(traces(*bodies))).status_code == 200
        assert collector.post(request(traces(huge))).status_code == 200
        sent = send(collector, 60)
        wait_until(lambda: settled(collector))
        taken = [each for each in far.requests if len(each.body) <= 1500]
        assert [name for each in taken for name in each.names] == [f"span {number}" for number in range(1, 9)] + sent
        assert forward(collector)["spans"] == {
            "delivered": 9, "rejected": 0, "refused": 0, "too_large": 1, "dropped": 0,
        }  # fmt: skip


def test_what_is_refused_for_good_holds_nothing_up(tmp_path: Path) -> None:
    """After 400 the request is counted as refused and logged, and the next one is sent; what is rejected is counted."""
    with (
        scripted(answer(400, {}, b"no such tenant"), partial(1, "too old"), answer(200)) as far,
        running(tmp_path, "--forward", far.endpoint) as collector,
    ):
        send(collector, 1, 2, 3)
        wait_until(lambda: settled(collector))
        assert far.names() == ["span 1", "span 2", "span 3"]
        assert forward(collector)["spans"] == {
            "delivered": 1, "rejected": 1, "refused": 1, "too_large": 0, "dropped": 0,
        }  # fmt: skip
        assert "no such tenant" in collector.process.output()
        assert [collector.trace(number) for number in (1, 2, 3)] == [["span 1"], ["span 2"], ["span 3"]]


@pytest.mark.long
def test_an_outage_longer_than_there_is_room(tmp_path: Path) -> None:
    """Beyond --forward-max-size the oldest goes, counted and logged; what arrives is the newest, in order."""
    port = claim_port(None, "far side")
    options = ("--forward", f"http://127.0.0.1:{port}", "--forward-max-size", "100kB")
    with running(tmp_path, *options) as collector:
        for number in range(1, 101):
            body = one_span(number, f"span {number}", tags={"x": "y" * 3000})
            assert collector.post(body).status_code == 200
        assert forward(collector)["queue_bytes"] <= 100_000  # type: ignore[operator]
        with receiver(port) as far:
            wait_until(lambda: settled(collector))
            arrived = names(far)
        spans = forward(collector)["spans"]
        assert arrived == [f"span {number}" for number in range(101 - len(arrived), 101)]
        assert spans["delivered"] + spans["dropped"] == 100  # type: ignore[index]
        assert spans["delivered"] == len(arrived) >= 20  # type: ignore[index]
        assert "there is no more room for what is to be sent on" in collector.process.output()
        assert collector.trace(1) == ["span 1"]  # our own store has it


def test_not_acknowledged_where_it_cannot_be_queued(tmp_path: Path) -> None:
    """A request that is in the store and not in the queue is answered 503, and is queued when it is sent again."""
    with scripted(answer(200)) as far, running(tmp_path, "--forward", far.endpoint) as collector:
        (tmp_path / "forward").write_text("in the way")
        body = one_span(1, "span 1")
        response = collector.post(body)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert collector.get("/ready").status_code == 503
        (tmp_path / "forward").unlink()
        assert collector.post(body).status_code == 200
        wait_until(lambda: far.names() == ["span 1"])
        wait_until(lambda: collector.get("/ready").status_code == 200)
        assert collector.trace(1) == ["span 1"]


def test_what_was_left_is_not_forgotten(tmp_path: Path) -> None:
    """A collector that is started without --forward says that something was not sent on."""
    port = claim_port(None, "far side")
    with running(tmp_path, "--forward", f"http://127.0.0.1:{port}") as collector:
        send(collector, 1)
    with running(tmp_path) as collector:
        assert "holds 1 spans that were not sent on" in collector.process.output()
        assert collector.get("/status.json").json()["forward"] is None
        assert not any(name.startswith("causal_forward") for name in collector.metrics())
