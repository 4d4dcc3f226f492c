"""A back end that does not let us in, or something else in its place: spans are kept until that is put right."""

from __future__ import annotations

import logging
import socket
import threading
import time
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import pytest

from causal_otel.export import sender
from causal_otel.export.spool import Spool
from tests.export.exporting import exporting
from tests.export.workers import lost
from tests.faults.grpc_collector import grpc_serving
from tests.faults.scripted import Action, Collector, answer, scripted
from tests.waiting import wait_until

LOGIN = answer(200, {"Content-Type": "text/html"}, b"<html>Please log in</html>")
ANSWERS = {
    "401": answer(401, {}, b"the token has expired"),
    "403": answer(403),
    "404": answer(404),
    "407": answer(407),
    "a redirect to a login page": answer(302, {"Location": "https://login.example.com/?next=x"}),
    "a login page": LOGIN,
}


@pytest.mark.parametrize("action", ANSWERS.values(), ids=ANSWERS.keys())
def test_kept(action: Action, caplog: pytest.LogCaptureFixture) -> None:
    """Without a spool spans wait, in order; flush() says so at once; once we are let in all are delivered."""
    with scripted(action) as collector, exporting(collector.url, max_export_batch_size=2) as made:
        made.end(*"abc")
        for _ in range(3):
            assert not made.flush()
        status = made.worker.status()
        assert (status.queued, status.exported, lost(made.worker)) == (3, 0, {})
        assert status.problem in str(status)
        assert len(caplog.records) == 1
        assert status.problem in caplog.records[0].getMessage()
        assert "TRACING_SPOOL_DIRECTORY" in caplog.records[0].getMessage()
        seen = len(collector.requests)
        collector.then(answer(200))
        made.end("d")
        assert made.flush()
        assert [name for request in collector.requests[seen:] for name in request.names] == list("abcd")
        status = made.worker.status()
        assert (status.queued, status.exported, status.problem, lost(made.worker)) == (0, 4, "", {})


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED])
def test_kept_with_grpc(code: grpc.StatusCode) -> None:
    """The same over gRPC."""
    with grpc_serving() as collector, exporting(collector.url) as made:
        accept = collector.handler
        collector.handler = lambda _, context: context.abort(code, "no such token")
        made.end(*"abc")
        assert not made.flush()
        assert (made.worker.status().queued, lost(made.worker)) == (3, {})
        assert made.worker.status().problem.startswith(f"{code.name}: no such token; check the credentials")
        collector.handler = accept
        assert made.flush()
        assert (made.worker.status().exported, lost(made.worker)) == (3, {})


def test_kept_for_longer_than_a_batch_may_take() -> None:
    """The time that a batch may take, with all attempts, does not count where we are not let in."""
    with scripted(answer(401)) as collector, exporting(collector.url, export_timeout=3.0) as made:
        made.end("a")
        begun = time.monotonic()
        while time.monotonic() < begun + 3.2:
            assert not made.flush()
        assert (made.worker.status().queued, lost(made.worker)) == (1, {})


def test_tried_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is tried again after a pause, without anybody's asking."""
    monkeypatch.setattr(sender, "_FIRST_SLOW_PAUSE", 0.01)
    with (
        scripted(answer(401), answer(401), answer(401), answer(200)) as collector,
        exporting(collector.url, max_export_batch_size=2) as made,
    ):
        made.end(*"ab")
        wait_until(lambda: made.worker.status().exported == 2)
        assert [request.names for request in collector.requests] == [["a", "b"]] * 4


def test_transport_is_made_anew() -> None:
    """The next attempt after it is on a new connection, for which certificates and credentials are read again."""
    with scripted(answer(200), answer(401), answer(200)) as collector, exporting(collector.url) as made:
        for name, connections in (("a", 1), ("b", 1), ("c", 2)):
            made.end(name)
            assert made.flush() is (name != "b")
            assert collector.connections == connections


def test_flush_during_an_attempt() -> None:
    """A flush is told of attempts that begin after it: the one under way may have been before a setting was mended."""
    answers: list[bool] = []
    flushing = threading.Thread(target=lambda: answers.append(made.flush()))

    def refuse(collector: Collector, connection: socket.socket) -> bool:
        flushing.start()
        wait_until(lambda: made.worker._sender._hurried)
        return answer(401)(collector, connection)

    with (
        scripted(refuse, answer(200)) as collector,
        exporting(collector.url, max_export_batch_size=1) as made,
    ):
        made.end("a")
        wait_until(lambda: answers)
        flushing.join(60)
        assert answers == [True]
        assert [request.names for request in collector.requests] == [["a"], ["a"]]


def test_bounded() -> None:
    """What is kept is bounded: the oldest go, exactly counted, and what is left is delivered in order."""
    names = [f"{number:03}" for number in range(100)]
    with (
        scripted(answer(401)) as collector,
        exporting(collector.url, max_export_batch_size=1, max_backlog_bytes=4000, max_queue_size=1000) as made,
    ):
        made.end(*names)
        assert not made.flush()

        def counted() -> bool:
            status = made.worker.status()
            return status.queued == 100 - status.dropped["queue_full"] and not made.worker._queue

        wait_until(counted)
        assert 0 < made.worker.status().dropped["queue_full"] < 100
        seen = len(collector.names())
        collector.then(answer(200))
        # One batch may be under way: refused, it comes back, takes the room of another, and that flush has failed.
        assert made.flush() or made.flush()
        status = made.worker.status()
        dropped = status.dropped["queue_full"]
        assert (status.queued, status.exported, lost(made.worker)) == (0, 100 - dropped, {"queue_full": dropped})
        delivered = collector.names()[seen:]
        first, *others = delivered[dropped - 100 :]
        assert others == names[dropped + 1 :]
        assert first <= names[dropped]  # it may have been under way while others went
        assert len(delivered) <= 100 - dropped + 1  # with the one that was refused


def test_end_of_the_process(caplog: pytest.LogCaptureFixture) -> None:
    """At the end there is one more attempt and not one a batch; what is lost is counted, and one line says why."""
    with (
        scripted(answer(401, {}, b"expired")) as collector,
        exporting(collector.url, max_export_batch_size=1, exit_timeout=3600.0) as made,
    ):
        made.end("a")
        assert not made.flush()
        caplog.clear()
        made.end(*"bcdef")
        ending = threading.Thread(target=made.worker.shutdown)
        ending.start()
        ending.join(60)
        assert not ending.is_alive()
        assert lost(made.worker) == {"shutdown": 6}
        assert len(collector.requests) <= 4
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "6 of the last 6 spans could not be delivered" in caplog.text
    assert "401: expired; check the credentials in OTEL_EXPORTER_OTLP_HEADERS" in caplog.text


@pytest.mark.parametrize("action", ANSWERS.values(), ids=ANSWERS.keys())
def test_spooled(action: Action, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With a spool they go to disk, and from there, in order, once we are let in; the log has one line of it."""
    with (
        scripted(action) as collector,
        exporting(collector.url, spool=Spool(tmp_path, 1_000_000)) as made,
    ):
        # They wait for flush(), which is not told of what went to the spool before it was called.
        made.end(*"abc")
        assert not made.flush()
        wait_until(lambda: made.worker.status().spooled == 3)
        assert (made.worker.status().queued, lost(made.worker)) == (0, {})
        made.end("d")
        assert not made.flush()
        (record,) = caplog.records
        assert record.getMessage().endswith("; they wait in the spool")
        seen = len(collector.requests)
        collector.then(answer(200))
        made.end("e")
        assert made.flush()
        assert [name for request in collector.requests[seen:] for name in request.names] == list("abcde")
        assert (made.worker.status().recovered, made.worker.status().exported, lost(made.worker)) == (4, 1, {})


def test_flush_of_other_spans() -> None:
    """A flush that was over before is not told of, and one that comes later is not held up by what was kept before."""
    with scripted(answer(200), answer(401), answer(200)) as collector, exporting(collector.url) as made:
        made.end("a")
        assert made.flush()
        made.end("b")
        assert not made.flush()
        assert made.flush()
        assert made.flush()
        assert collector.names() == ["a", "b", "b"]
