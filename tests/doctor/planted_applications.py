"""Planted in the application, its environment and its server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.doctor.examining import APPLICATION
from tests.doctor.planting import Case, Soil, plant

__all__: list[str] = []

_UVICORN = ("uvicorn", "shop:app")


def _well(soil: Soil, **variables: str) -> dict[str, str]:
    """The variables of a service that is well."""
    return {"OTEL_SERVICE_NAME": "shop", "OTLP_ENDPOINT": soil.endpoint, **variables}


def _shop(soil: Soil, *, before: str = "", after: str = "") -> None:
    soil.write("shop.py", f"{before}\n{APPLICATION}\n{after}\n")


# -- the application ---------------------------------------------------------------------------------------------------


@plant("application-failed", "error", "cd", "doctor uvicorn shop:app")
def no_such_module(soil: Soil) -> Iterator[Case]:
    """The command is run in another directory than the application's."""
    yield Case(_UVICORN, _well(soil))


@plant("application-failed", "error", "pip install stripe_of_nobody", quick=True)
def a_missing_package(soil: Soil) -> Iterator[Case]:
    """What the application imports is not installed."""
    _shop(soil, before="import stripe_of_nobody")
    yield Case(("hypercorn", "shop:app"), _well(soil))


@plant("application-failed", "error", "import shop")
def no_such_attribute(soil: Soil) -> Iterator[Case]:
    """The module has no application of that name."""
    _shop(soil)
    yield Case(("gunicorn", "shop:application"), _well(soil))


@plant("application-unknown", "error", "uvicorn shop.api:app")
def no_application_named(soil: Soil) -> Iterator[Case]:
    """The command names no application."""
    yield Case(("celery", "worker"), _well(soil))


@plant("install-under-guard", "error", "at the top of the module")
def install_in_the_main_program(soil: Soil) -> Iterator[Case]:
    """Workers and reloaders import the module again, and do not run what is under its guard."""
    soil.write(
        "serve.py",
        "import causal_otel\nimport uvicorn\n\n\ndef main():\n    causal_otel.install()\n"
        '    uvicorn.run("shop:app", workers=4)\n\n\nif __name__ == "__main__":\n    main()\n',
    )
    yield Case(("python", "serve.py"), _well(soil))


@plant("install-not-called", "note", "causal-otel run uvicorn shop:app")
def install_forgotten(soil: Soil) -> Iterator[Case]:
    """Nothing calls it."""
    soil.write("shop.py", "from starlette.applications import Starlette\n\napp = Starlette()\n")
    yield Case(_UVICORN, _well(soil))


@plant("import-does-not-end", "warning", "__main__")
def a_script_that_runs_on(soil: Soil) -> Iterator[Case]:
    """A script without a guard does its work while it is imported."""
    soil.write("poll.py", "import threading\n\nimport causal_otel\n\ncausal_otel.install()\nthreading.Event().wait()\n")
    yield Case(("--timeout", "3s", "python", "poll.py"), _well(soil))


# -- the configuration -------------------------------------------------------------------------------------------------


@plant("setting-refused", "error", "unset OTEL_TRACES_SAMPLER", quick=True)
def an_unknown_sampler(soil: Soil) -> Iterator[Case]:
    """A value is misspelt."""
    yield Case((), _well(soil, OTEL_TRACES_SAMPLER="allways_on"), paste={})


@plant("setting-in-vain", "warning", "TRACING_SPOOL_DIRECTORY", quick=True)
def a_misspelt_variable(soil: Soil) -> Iterator[Case]:
    """A variable's name is misspelt."""
    yield Case((), _well(soil, TRACING_SPOOL_DIRECTROY="spool"), paste={})


@plant("setting-in-vain", "warning", "unset JAEGER_HOST")
def two_places_to_send_to(soil: Soil) -> Iterator[Case]:
    """What an older deployment has set is still there."""
    yield Case((), _well(soil, JAEGER_HOST="jaeger.internal"), paste={})


@plant("switched-off", "error", "unset TRACING_ENABLED")
def switched_off(soil: Soil) -> Iterator[Case]:
    """A variable of the tests has come into the image."""
    _shop(soil)
    yield Case(_UVICORN, _well(soil, TRACING_ENABLED="false"), paste={})


@plant("exporter-none", "warning", "export OTEL_TRACES_EXPORTER=otlp")
def an_exporter_of_the_tests(soil: Soil) -> Iterator[Case]:
    """Spans are recorded for nobody."""
    yield Case((), _well(soil, OTEL_TRACES_EXPORTER="none"), paste={})


@plant("service-unnamed", "warning", "export OTEL_SERVICE_NAME=shop")
def no_name(soil: Soil) -> Iterator[Case]:
    """Nobody has named the service, so it is called uvicorn."""
    _shop(soil)
    yield Case(_UVICORN, {"OTLP_ENDPOINT": soil.endpoint}, paste={})


@plant("service-named-in-code", "warning", "without service_name")
def two_names(soil: Soil) -> Iterator[Case]:
    """The code names every program that imports it."""
    soil.write("shop.py", APPLICATION.replace("install()", 'install(service_name="all")'))
    yield Case(_UVICORN, _well(soil))


# -- libraries, versions, tracers --------------------------------------------------------------------------------------


@plant("library-untraced", "warning", "pip install opentelemetry-instrumentation-pymongo")
def a_library_without_a_patch(soil: Soil) -> Iterator[Case]:
    """A driver that nothing here traces."""
    soil.write("pymongo.py", '__version__ = "4.15"\n')
    _shop(soil, before="import pymongo")
    yield Case(_UVICORN, _well(soil))


@plant("framework-unwrapped", "warning", "app.wsgi_app = causal_otel.WsgiMiddleware(app.wsgi_app)")
def flask_without_middleware(soil: Soil) -> Iterator[Case]:
    """Requests of Flask are traced where somebody asks for it."""
    soil.write("shop.py", "import causal_otel\nfrom flask import Flask\n\ncausal_otel.install()\napp = Flask('shop')\n")
    yield Case(("flask", "--app", "shop", "run"), _well(soil))


@plant("driver-version", "error", 'pip install "asyncpg>=0.29,<1"', quick=True)
def a_driver_that_is_too_old(soil: Soil) -> Iterator[Case]:
    """What is installed first on the path is an old version."""
    (soil.directory / "asyncpg-0.20.0.dist-info").mkdir()
    soil.write("asyncpg-0.20.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: asyncpg\nVersion: 0.20.0\n")
    _shop(soil, before="import asyncpg")
    yield Case(_UVICORN, _well(soil, PYTHONPATH=str(soil.directory)))


@plant("patch-refused", "error", 'pip install --upgrade "taskiq')
def a_driver_of_another_shape(soil: Soil) -> Iterator[Case]:
    """A fork of a driver, or one that somebody else has changed, lacks what the patch replaces."""
    _shop(soil, before="from taskiq.kicker import AsyncKicker\ndel AsyncKicker.kiq")
    yield Case(_UVICORN, _well(soil))


@plant("patch-waiting", "note", "import neo4j")
def a_driver_that_is_not_imported(soil: Soil) -> Iterator[Case]:
    """Somebody has named a patch, and nothing imports its driver."""
    soil.write("shop.py", APPLICATION.replace("install()", 'install(patches=["asgi", "neo4j"])'))
    yield Case(_UVICORN, _well(soil))


@plant("patch-off", "note", "causal_otel.install(patches=")
def a_patch_that_was_left_out(soil: Soil) -> Iterator[Case]:
    """Somebody has named the patches, before there was another driver."""
    text = APPLICATION.replace("install()", 'install(patches=["asgi"])')
    soil.write("shop.py", f"import asyncpg\n{text}")
    yield Case(_UVICORN, _well(soil))


@plant("another-tracer", "warning", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=redis")
def contrib_beside_us(soil: Soil) -> Iterator[Case]:
    """Both trace the same driver."""
    after = "from opentelemetry.instrumentation.redis import RedisInstrumentor\nRedisInstrumentor().instrument()"
    _shop(soil, before="import redis", after=after)
    yield Case(_UVICORN, _well(soil))


@plant("another-tracer", "warning", "DD_TRACE_ENABLED=false")
def ddtrace_beside_us(soil: Soil) -> Iterator[Case]:
    """The application is started by ddtrace-run as before."""
    _shop(soil, before="import redis")
    variables = {"DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false", "DD_TRACE_AGENT_URL": "http://127.0.0.1:1"}
    yield Case(("ddtrace-run", *_UVICORN), _well(soil, **variables))


@plant("another-tracer", "warning", "traces_sample_rate")
def sentry_traces_too(soil: Soil) -> Iterator[Case]:
    """Sentry's performance part is on."""
    options = "dsn='http://key@127.0.0.1:1/1', auto_enabling_integrations=False, traces_sample_rate=1.0"
    _shop(soil, before=f"import sentry_sdk\nsentry_sdk.init({options})")
    yield Case(_UVICORN, _well(soil))


@plant("another-tracer", "warning", "unset FASTAPI_OTEL_AUTO_CONFIGURE")
def fastapi_exports_too(soil: Soil) -> Iterator[Case]:
    """FastAPI adds an exporter to our provider, and every span is sent twice."""
    soil.write("shop.py", "import causal_otel\nfrom fastapi import FastAPI\n\ncausal_otel.install()\napp = FastAPI()\n")
    variables = {"OTEL_SERVICE_NAME": "shop", "OTEL_EXPORTER_OTLP_ENDPOINT": soil.endpoint}
    yield Case(_UVICORN, {**variables, "FASTAPI_OTEL_AUTO_CONFIGURE": "true"}, paste={})


@plant("provider-without-export", "error", "before the provider is set")
def a_provider_of_nobody(soil: Soil) -> Iterator[Case]:
    """A provider was set for the tests, and nothing takes its spans."""
    before = "from opentelemetry import trace\nfrom opentelemetry.sdk.trace import TracerProvider\n"
    _shop(soil, before=f"{before}trace.set_tracer_provider(TracerProvider())")
    yield Case(_UVICORN, _well(soil))


@plant("provider-of-another", "note", "first of all")
def a_pipeline_of_the_users(soil: Soil) -> Iterator[Case]:
    """The application has a pipeline of its own, as before."""
    before = (
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor\n"
        "trace.set_tracer_provider(TracerProvider())\n"
        "trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))\n"
    )
    _shop(soil, before=before)
    yield Case(_UVICORN, _well(soil))


@plant("another-tracer", "warning", "logfire.configure")
def logfire_comes_first(soil: Soil) -> Iterator[Case]:
    """Logfire's provider is set, so its exporters count."""
    _shop(soil, before="import logfire\nlogfire.configure(send_to_logfire=False, console=False)")
    yield Case(_UVICORN, _well(soil))


# -- sampling ----------------------------------------------------------------------------------------------------------


@plant("sampled-out", "error", "export OTEL_TRACES_SAMPLER=parentbased_always_on")
def nothing_is_sampled(soil: Soil) -> Iterator[Case]:
    """The sampler of a load test is still set."""
    yield Case((), _well(soil, OTEL_TRACES_SAMPLER="parentbased_always_off"), paste={})


@plant("sampled-in-part", "warning", "export OTEL_TRACES_SAMPLER=parentbased_always_on")
def a_tenth_is_sampled(soil: Soil) -> Iterator[Case]:
    """What is looked for is there once in ten times."""
    variables = _well(soil, OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0.1")
    yield Case(("--operation", "GET /orders"), variables, paste={})


@plant("sampled-in-part", "warning", "TRACING_KEEP_ERRORS")
def a_health_check_is_looked_for(soil: Soil) -> Iterator[Case]:
    """One in ten health checks is recorded by default."""
    yield Case(("--operation", "GET /healthz"), _well(soil), paste={})


@plant("sampler-ignores-parents", "warning", "export OTEL_TRACES_SAMPLER=parentbased_traceidratio")
def every_span_for_itself(soil: Soil) -> Iterator[Case]:
    """Services do not follow those that call them."""
    yield Case((), _well(soil, OTEL_TRACES_SAMPLER="traceidratio"), paste={})


# -- servers -----------------------------------------------------------------------------------------------------------


@contextmanager
def _by_grpc() -> Iterator[dict[str, str]]:
    """The variables of a service that sends its spans by gRPC, to a collector that takes them."""
    from tests.faults.grpc_collector import grpc_serving

    with grpc_serving() as collector:
        yield {
            "OTEL_SERVICE_NAME": "shop",
            "OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        }


@plant("grpc-and-fork", "warning", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
def gunicorn_preloads(soil: Soil) -> Iterator[Case]:
    """The configuration file preloads the application, and spans are sent by gRPC."""
    _shop(soil)
    soil.write("gunicorn.conf.py", 'preload_app = True\nworkers = 2\nworker_class = "uvicorn_worker.UvicornWorker"\n')
    with _by_grpc() as variables:
        yield Case(("gunicorn", "shop:app"), variables)


@plant("grpc-and-fork", "warning", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
def celery_forks(soil: Soil) -> Iterator[Case]:
    """Celery's pool forks, and spans are sent by gRPC."""
    soil.write(
        "shop.py", "import causal_otel\nfrom celery import Celery\n\ncausal_otel.install()\napp = Celery('shop')\n"
    )
    with _by_grpc() as variables:
        yield Case(("celery", "-A", "shop", "worker"), variables)


@plant("grpc-and-greenlets", "warning", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
def gunicorn_runs_greenlets(soil: Soil) -> Iterator[Case]:
    """Workers of gunicorn run gevent, and spans are sent by gRPC."""
    _shop(soil)
    with _by_grpc() as variables:
        yield Case(("gunicorn", "--worker-class", "gevent", "shop:app"), variables)


@plant("server-without-threads", "error", "enable-threads")
def uwsgi_without_threads(soil: Soil) -> Iterator[Case]:
    """Its configuration file does not turn them on."""
    _shop(soil)
    soil.write("uwsgi.ini", "[uwsgi]\nmodule = shop:app\nmaster = true\nprocesses = 4\n")
    yield Case(("uwsgi", "uwsgi.ini"), _well(soil))
