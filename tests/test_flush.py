"""``causal_otel.flush()``: what has ended has arrived when it returns, wherever it is called, and it never raises."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

import causal_otel
from tests.faults.programs import run
from tests.faults.scripted import hang, refused_port, scripted

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

NEVER = 600.0
"""Seconds until a batch would be exported by itself."""


def test_what_has_ended_has_arrived(receiver: ReceivedSpans) -> None:
    """It returns True when the receiver has the spans that have ended; the one that it is called in comes later."""
    installed = causal_otel.install(patches=[], endpoint=receiver.endpoint, schedule_delay=NEVER)
    try:
        with causal_otel.span("outer"):
            with causal_otel.span("inner"):
                pass
            assert causal_otel.flush()
            assert [span["name"] for span in receiver.spans()] == ["inner"]
        assert causal_otel.flush(timeout=60.0)
        assert [span["name"] for span in receiver.spans()] == ["inner", "outer"]
        assert causal_otel.flush(timeout=1.0), "there is nothing more"
    finally:
        installed.uninstall()


def test_before_install_and_after_uninstall() -> None:
    """Where nothing is traced there is nothing to export."""
    assert causal_otel.flush()
    causal_otel.install(patches=[], exporter="none").uninstall()
    assert causal_otel.flush()


@pytest.mark.parametrize("hangs", [True, False])
def test_a_collector_that_does_not_answer(hangs: bool) -> None:
    """It returns False in its time where the collector hangs, and where there is none."""
    with scripted(hang) as collector, refused_port() as port:
        endpoint = collector.endpoint if hangs else f"http://127.0.0.1:{port}"
        installed = causal_otel.install(patches=[], endpoint=endpoint, schedule_delay=NEVER, exit_timeout=0.1)
        try:
            with causal_otel.span("work"):
                pass
            assert causal_otel.flush(timeout=0.3) is False
        finally:
            installed.uninstall()


def test_a_processor_that_raises() -> None:
    """With a provider of the user's own whose processor raises it returns False."""

    class Raising(SpanProcessor):
        def force_flush(self, timeout_millis: int = 30000) -> bool:
            raise RuntimeError("went wrong")

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Raising())
    installed = causal_otel.install(patches=[], tracer_provider=provider)
    try:
        assert causal_otel.flush() is False
    finally:
        installed.uninstall()


def test_off_the_event_loop(receiver: ReceivedSpans) -> None:
    """In a coroutine it runs in a thread, and the loop goes on."""
    installed = causal_otel.install(patches=[], endpoint=receiver.endpoint, schedule_delay=NEVER)

    async def main() -> int:
        with causal_otel.span("work"):
            pass
        flushing, turns = asyncio.create_task(asyncio.to_thread(causal_otel.flush)), 0
        while not flushing.done():
            await asyncio.sleep(0)
            turns += 1
        assert await flushing
        return turns

    try:
        assert asyncio.run(main()) > 0
        assert [span["name"] for span in receiver.spans()] == ["work"]
    finally:
        installed.uninstall()


def test_in_a_forked_child(receiver: ReceivedSpans) -> None:
    """A child exports its own spans, which are there although it ends by ``os._exit()``; the parent exports its own."""
    done = run(
        """
        import os, warnings, causal_otel
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # since 3.12
        causal_otel.install(patches=[], schedule_delay=600.0)
        with causal_otel.span("before"):
            pass
        child = os.fork()
        with causal_otel.span("parent" if child else "child"):
            pass
        flushed = causal_otel.flush(60.0)
        if not child:
            os._exit(0 if flushed else 1)
        assert flushed and os.waitpid(child, 0)[1] == 0
        os._exit(0)
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(span["name"] for span in receiver.spans()) == ["before", "child", "parent"]
