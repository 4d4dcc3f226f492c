"""install(): what it sets up, what it refuses, and that it undoes itself exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from opentelemetry import propagate, trace

import causal_otel
from causal_otel.engine.provider import TracerProvider
from causal_otel.instrument.registry import BUILT_IN
from causal_otel.patches.asyncpg import AsyncpgOptions
from tests.installing import patched, run_strictly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.received import ReceivedSpans


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    causal_otel.uninstall()


def test_an_installation_tells_what_it_is() -> None:
    """Its ``repr`` says for whom, where to and with which patches; or why not."""
    done = run_strictly(
        """
        import causal_otel
        from causal_otel.engine.provider import TracerProvider

        def show(**settings):
            installed = causal_otel.install(patches=["redis", "asgi"], **settings)
            print(installed)
            installed.uninstall()
            print(installed)

        show(service_name="shop", endpoint="http://user:secret@127.0.0.1:1")
        show(tracer_provider=TracerProvider())
        show(enabled=False)
        """
    )
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            "<Installation of 'shop', sending to http://127.0.0.1:1/v1/traces, patches: redis, asgi>",
            "<Installation, not tracing: uninstalled>",
            "<Installation on TracerProvider, patches: redis, asgi>",
            "<Installation, not tracing: uninstalled>",
            "<Installation, not tracing: switched off by enabled=false>",
            "<Installation, not tracing: uninstalled>",
        ],
    ), done.stderr


class TestPatches:
    def test_all_by_default(self) -> None:
        """Without ``patches`` every patch is chosen."""
        status = causal_otel.install(tracer_provider=trace.NoOpTracerProvider()).status()
        assert [patch.name for patch in status.patches] == list(BUILT_IN)
        assert all(patch.state in ("on", "waiting") for patch in status.patches)

    @pytest.mark.parametrize(
        "patches", [["asyncpg"], ("asyncpg",), {"asyncpg": True, "redis": False}, {"asyncpg": AsyncpgOptions()}]
    )
    def test_opt_in(self, patches: Any) -> None:
        """Names, or a mapping to bools or options, choose; the others stay off."""
        status = causal_otel.install(patches=patches, tracer_provider=trace.NoOpTracerProvider()).status()
        assert {patch.name for patch in status.patches if patch.state != "off"} == {"asyncpg"}

    def test_opt_out(self) -> None:
        """A mapping that names only what is left out chooses all others."""
        patches = {"asyncpg": False, "threads": False}
        status = causal_otel.install(patches=patches, tracer_provider=trace.NoOpTracerProvider()).status()
        assert {patch.name for patch in status.patches if patch.state == "off"} == patches.keys()

    @pytest.mark.parametrize(
        ("patches", "message"),
        [
            (["mysql"], "patches: there is no 'mysql'; there are: aiohttp, aiokafka, asgi, asyncpg,"),
            ("asyncpg", r"patches='asyncpg' is not allowed; it must be a list of names: \['asyncpg'\]"),
            ({"asyncpg": "yes"}, "patches: asyncpg='yes' is not allowed; it must be True, False or AsyncpgOptions"),
        ],
    )
    def test_bad_choice_is_explained_and_changes_nothing(self, patches: Any, message: str) -> None:
        """A name or option that does not exist stops install() before anything is patched."""
        before = patched()
        with pytest.raises(causal_otel.SettingError, match=message):
            causal_otel.install(patches=patches)
        assert patched() == before
        assert not causal_otel.status().installed

    def test_uninstall_restores_every_attribute(self) -> None:
        """After uninstall() every attribute is the very object that it was, after any number of rounds."""
        before = patched()
        assert len(before) > 10
        for _ in range(3):
            causal_otel.install(tracer_provider=trace.NoOpTracerProvider())
            during = patched()
            same = [name for name, original in before.items() if original is not None and during[name] is original]
            # Left alone: what is there for metrics of pools, and for an option.
            measured = ("ConnectionPool.", "Session._connect", "Session._disconnect")
            assert all(any(map(name.__contains__, (*measured, ".PubSub.handle_message"))) for name in same), same
            causal_otel.uninstall()
            after = patched()
            assert all(after[name] is original for name, original in before.items())

    def test_import_order_does_not_matter(self) -> None:
        """A driver imported after install() is patched at its import; installing imports none of them."""
        done = run_strictly(
            """
            import sys, causal_otel
            causal_otel.install(exporter="none")
            assert not {"asyncpg", "redis", "neo4j", "httpx", "celery", "starlette"} & set(sys.modules)
            states = lambda: {patch.name: patch.state for patch in causal_otel.status().patches}
            assert states()["asyncpg"] == "waiting", states()
            import asyncpg
            assert states()["asyncpg"] == "on", states()
            causal_otel.uninstall()
            assert not hasattr(asyncpg.Connection.fetch, "__wrapped__")
            """
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_importing_does_not_import_the_sdk(self) -> None:
        """The SDK reads variables while it is imported: it is imported when they have been looked at."""
        done = run_strictly(
            "import sys, causal_otel; print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
        )
        assert (done.stdout, done.stderr) == ("[]\n", "")

    def test_somebody_else_wrapped_around_us(self) -> None:
        """What others put around our wrapper stays in place when we leave, and ours inside it is switched off."""
        original = asyncpg.Connection.fetch
        installed = causal_otel.install(patches=["asyncpg"], tracer_provider=trace.NoOpTracerProvider())
        ours = asyncpg.Connection.fetch

        async def theirs(*args: Any, **kwargs: Any) -> Any:
            return await ours(*args, **kwargs)

        asyncpg.Connection.fetch = theirs  # type: ignore[method-assign]
        try:
            installed.uninstall()
            assert vars(asyncpg.Connection)["fetch"] is theirs
        finally:
            asyncpg.Connection.fetch = original  # type: ignore[method-assign]


class TestProvider:
    def test_given_provider_is_used(self) -> None:
        """With ``tracer_provider`` no pipeline of ours exists and the global provider is left alone."""
        before = trace.get_tracer_provider()
        provider = TracerProvider()
        installed = causal_otel.install(patches=[], tracer_provider=provider)
        assert installed.tracer_provider is provider
        assert installed.status().export is None
        assert trace.get_tracer_provider() is before
        assert installed.flush(1.0)
        installed.uninstall()
        assert not provider.closed, "the user's provider is the user's to shut down"
        provider.shutdown()

    def test_provider_already_in_place_is_used(self) -> None:
        """A provider that somebody has set before is used, and no export of ours is configured."""
        done = run_strictly(
            """
            import causal_otel
            from opentelemetry import trace
            from opentelemetry.sdk.trace import TracerProvider
            theirs = TracerProvider()
            trace.set_tracer_provider(theirs)
            installed = causal_otel.install()
            assert installed.tracer_provider is theirs and installed.status().export is None
            with causal_otel.span("x") as span:
                assert type(span).__module__ == "opentelemetry.sdk.trace"
            """
        )
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize("install", [True, False])
    def test_provider_in_place_that_gives_no_tracer(self, install: bool) -> None:
        """A provider that raises when asked for a tracer stops neither install() nor a block, installed or not."""
        done = run_strictly(
            f"""
            import causal_otel
            from opentelemetry import trace
            class Broken(trace.TracerProvider):
                def get_tracer(self, *args, **kwargs):
                    raise RuntimeError("a bug of the user's")
            trace.set_tracer_provider(Broken())
            if {install}:
                causal_otel.install()
            @causal_otel.traced
            def decorated():
                return 7
            for _ in range(2):
                with causal_otel.span("block") as span:
                    print(span.is_recording(), decorated())
            print(causal_otel.status())
            """
        )
        reason = "get_tracer() of your tracer provider has raised RuntimeError" if install else "install() has not been"
        assert done.returncode == 0
        assert done.stdout.startswith(f"False 7\nFalse 7\ncausal_otel: not tracing ({reason}")
        assert done.stderr.count("causal_otel: ") == 1
        assert "RuntimeError: a bug of the user's" in done.stderr

    def test_pipeline_end_to_end(self, receiver: ReceivedSpans) -> None:
        """Spans of a program arrive with its service's attributes, also after uninstall() and install() again."""
        done = run_strictly(
            """
            import causal_otel
            from opentelemetry import trace
            module_tracer = trace.get_tracer("user")
            causal_otel.install(service_name="first")
            with causal_otel.span("one", {"k": 1}), module_tracer.start_as_current_span("inner"):
                pass
            causal_otel.uninstall()
            with causal_otel.span("unseen"), module_tracer.start_as_current_span("unseen"):
                pass
            installed = causal_otel.install(service_name="second")
            with causal_otel.span("two"), module_tracer.start_as_current_span("inner two"):
                pass
            assert installed.flush(10)
            print(installed.status())
            """,
            OTLP_ENDPOINT=receiver.endpoint,
            SERVICE_VERSION="1.2",
            ENVIRONMENT="test",
            OTEL_RESOURCE_ATTRIBUTES="team=red",
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "causal_otel: tracing second to http://" in done.stdout
        assert "spans: 2 exported, 0 waiting, 0 lost" in done.stdout
        spans = {span["name"]: span for span in receiver.spans()}
        assert {name: span["service"] for name, span in spans.items()} == {
            "one": "first",
            "inner": "first",
            "two": "second",
            "inner two": "second",
        }
        for inner, outer in (("inner", "one"), ("inner two", "two")):
            assert spans[inner]["parent_span_id"] == spans[outer]["span_id"]
            assert spans[outer]["start"] <= spans[inner]["start"] <= spans[inner]["end"] <= spans[outer]["end"]
            assert spans[outer]["parent_span_id"] is None
        assert {span["status"]["code"] for span in spans.values()} == {"UNSET"}
        assert spans["one"]["attributes"] == {"k": 1}
        resource = spans["one"]["resource"]
        assert resource["service.version"] == "1.2"
        assert resource["deployment.environment.name"] == "test"
        assert resource["team"] == "red"

    def test_grpc_refuses_what_it_cannot_do(self) -> None:
        """A compression that gRPC has not stops install() with what is allowed."""
        with pytest.raises(causal_otel.SettingError, match="'deflate' is not allowed with gRPC"):
            causal_otel.install(patches=[], protocol="grpc", compression="deflate")
        assert not causal_otel.status().installed

    def test_settings_reach_the_provider(self) -> None:
        """Sampler, limits and propagators are what the settings say, and the propagators are put back."""
        done = run_strictly(
            """
            import causal_otel
            from opentelemetry import propagate
            before = propagate.get_global_textmap()
            installed = causal_otel.install(
                exporter="none", sampler="traceidratio", sampler_arg=0.5, propagators=["baggage"],
                attribute_count_limit=3, span_event_count_limit=4, attribute_value_length_limit=9)
            provider = installed.tracer_provider
            assert "0.5" in provider.sampler.get_description()
            limits = provider.span_limits
            assert (limits.max_span_attributes, limits.max_event_attributes, limits.max_events) == (3, 3, 4)
            assert (limits.max_attribute_length, limits.max_span_attribute_length) == (9, 9)
            carrier = {}
            with causal_otel.span("x"):
                causal_otel.inject(carrier)
            assert carrier == {}
            causal_otel.uninstall()
            assert propagate.get_global_textmap() is before
            """
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_console(self) -> None:
        """The exporter ``console`` prints the trace on standard error, and then a line a span."""
        done = run_strictly("import causal_otel; causal_otel.install()\nwith causal_otel.span('hello', {'k': 1}): pass",
                    TRACING_EXPORTER="console")  # fmt: skip
        assert done.returncode == 0
        header, line = done.stderr.splitlines()
        assert header.startswith("trace ")
        assert line.startswith("hello  INTERNAL ")
        assert line.endswith(" k=1")

    def test_console_flush(self) -> None:
        """flush() prints what has ended of a trace whose root has not, which installing did not slow down."""
        done = run_strictly(
            """
            import sys, causal_otel
            installed = causal_otel.install(exporter="console")
            assert installed.tracer_provider.core.fast_child
            with causal_otel.span("root"):
                with causal_otel.span("child"):
                    pass
                assert installed.flush()
                print("-- flushed", file=sys.stderr, flush=True)
            """
        )
        assert done.returncode == 0
        flushed, _, after = done.stderr.partition("-- flushed\n")
        assert "incomplete" in flushed
        assert "child" in flushed
        assert "root" in after


class TestApp:
    def test_application_is_accepted(self) -> None:
        """A FastAPI application made before install() is accepted."""
        from fastapi import FastAPI

        causal_otel.install(FastAPI(), patches=["asgi"], tracer_provider=trace.NoOpTracerProvider())

    def test_what_would_not_be_traced_is_refused(self) -> None:
        """An application that would silently go untraced stops install() with what to do."""

        async def bare(scope: Any, receive: Any, send: Any) -> None: ...

        with pytest.raises(causal_otel.SettingError, match="TracingMiddleware"):
            causal_otel.install(bare)
        with pytest.raises(causal_otel.SettingError, match="leaves it out"):
            causal_otel.install(bare, patches=["redis"])


def test_global_propagator_is_the_default() -> None:
    """Nothing in these tests has left the propagators changed."""
    assert set(propagate.get_global_textmap().fields) >= {"traceparent", "baggage"}
