"""Threads and pools beside other tools that wrap the same functions, in either order: the user gets what he got."""

from __future__ import annotations

import os

import pytest

from tests.faults.programs import run

PEERS = {
    "contrib": """
        from opentelemetry.instrumentation.threading import ThreadingInstrumentor
        ThreadingInstrumentor().instrument()
    """,
    "logfire": """
        import logfire
        logfire.configure(send_to_logfire=False, console=False, inspect_arguments=False)
    """,
    "ddtrace": """
        import ddtrace
        ddtrace.patch(futures=True, raise_errors=True)
    """,
    "sentry": """
        import sentry_sdk
        from sentry_sdk.integrations.threading import ThreadingIntegration
        sentry_sdk.init(
            dsn="http://key@127.0.0.1:1/1", transport=lambda envelope: None, default_integrations=False,
            integrations=[ThreadingIntegration()],
        )
    """,
}

OURS = """
        import causal_otel
        from causal_otel.engine.provider import TracerProvider
        causal_otel.install(patches=["threads"], tracer_provider=TracerProvider())
"""

PROGRAM = """
        import multiprocessing, threading
        from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
        from multiprocessing.pool import ThreadPool

        def work(*args, **kwargs):
            return args, kwargs, causal_otel.current_trace_id()

        class Own(threading.Thread):
            def run(self):
                found.append(work())

        def use():
            given = ((1,), {"two": 2})
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(work, 1, two=2).result() == (*given, causal_otel.current_trace_id())
                assert [each[0] for each in pool.map(work, "ab")] == [("a",), ("b",)]
                try:
                    pool.submit(int, "x").result()
                except ValueError as error:
                    assert "invalid literal" in str(error)
            with ThreadPool(1) as pool:
                assert pool.apply(work, *given) == (*given, causal_otel.current_trace_id())
            with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
                assert pool.submit(work, 1, two=2).result() == (*given, causal_otel.current_trace_id())
            threads = [
                Own(),
                threading.Thread(target=lambda *args: found.append(work(*args))),
                threading.Timer(0.001, lambda: found.append(work())),
            ]
            for thread in threads:
                thread.start()
                thread.join()
            assert found == [((), {}, causal_otel.current_trace_id())] * 3, found
            found.clear()

        found = []
        with causal_otel.span("root"):
            assert causal_otel.current_trace_id() is not None
            use()
        use()
        assert causal_otel.status().faults == {}
        causal_otel.uninstall()
        use()
        print("done")
"""


@pytest.mark.long
@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("peer", PEERS)
def test_beside_a_peer(peer: str, order: str) -> None:
    """Each way gives what it gave, in the trace or outside, and after ``uninstall()``, too."""
    begin = PEERS[peer] + OURS if order == "first" else OURS + PEERS[peer]
    done = run(
        begin + PROGRAM,
        options=("-W", "ignore"),
        DD_TRACE_AGENT_URL="http://127.0.0.1:1",
        DD_TRACE_ENABLED="false",
        DD_INSTRUMENTATION_TELEMETRY_ENABLED="false",
        DD_REMOTE_CONFIGURATION_ENABLED="false",
        DD_CRASHTRACKING_ENABLED="false",
        HOME=os.environ.get("HOME", "/"),
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
