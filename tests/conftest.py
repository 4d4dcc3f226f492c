"""What every test may use: real servers and an OTLP receiver, each started when a test first asks for it."""

from __future__ import annotations

import faulthandler
import functools
import gc
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import hypothesis
import pytest

from tests.newest_python import warn_as_the_newest_does
from tests.services.fixtures import (
    kafka_address,
    neo4j_server,
    postgres_url,
    rabbitmq_url,
    receiver,
    receiver_process,
    redis_url,
)
from tests.slow_machine import run_again

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

__all__ = ["kafka_address", "neo4j_server", "postgres_url", "rabbitmq_url", "receiver", "receiver_process", "redis_url"]

# Logfire is here for one test. As a plugin of pydantic it would be imported wherever FastAPI is, and the SDK with it.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "logfire-plugin")

# On a busy machine any COMMIT may take longer than 10 ms, and so be a span. Tests of that say what is slow.
os.environ.setdefault("TRACING_SLOW_PLUMBING", "3600")

# And any turn of an event loop may be long. Tests of that say what is.
os.environ.setdefault("TRACING_LOOP_BLOCK_THRESHOLD", "3600")

# Whoever runs the tests may trace that; no span of theirs is below it.
for _variable in ("TRACEPARENT", "TRACESTATE", "BAGGAGE"):
    os.environ.pop(_variable, None)


def pytest_configure() -> None:
    """Warn as the newest Python does, suppose no idle machine, and let programs that tests start see signals as usual.

    Also where the run itself ignores signals (nohup, ``&``). That is inherited; to handle one, here by doing nothing,
    is not.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    warn_as_the_newest_does()
    hypothesis.settings.register_profile(
        "busy machine",
        parent=hypothesis.settings(),
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("busy machine")
    for library in (httpx, httpx2):
        default = library._config.DEFAULT_TIMEOUT_CONFIG  # 5 s; the clients' own default is this very object
        default.connect = default.read = default.write = default.pool = 60.0
        transports: Any = library._transports.default
        transports.create_ssl_context = _remembered(transports.create_ssl_context)


def _remembered(create: Callable[..., ssl.SSLContext]) -> Callable[..., ssl.SSLContext]:
    """Give all clients that ask for nothing special one context: reading the certificates takes 20 ms a client."""
    default = functools.cache(create)

    def created(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
        if (
            verify is not True
            or cert is not None
            or (trust_env and {"SSL_CERT_FILE", "SSL_CERT_DIR"} & set(os.environ))
        ):
            return create(verify=verify, cert=cert, trust_env=trust_env)
        return default()

    return created


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests of planted waits again where only the machine was too busy for them."""
    run_again(items)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep what is there for good out of the searches for garbage: in all that is collected, one takes 0.3 s."""
    gc.disable()
    yield
    gc.enable()
    gc.freeze()


_LOUD = ("no test against Neo4j itself", "no test against RabbitMQ", "no test against the true ")
"""How reasons begin that are not to be overlooked."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say that tests against Neo4j, RabbitMQ and other programs were skipped, and why, however quiet the run is."""
    reasons = {
        reason
        for report in terminalreporter.getreports("skipped")
        if isinstance(report.longrepr, tuple)
        and (reason := report.longrepr[2].removeprefix("Skipped: ")).startswith(_LOUD)
    }
    for reason in sorted(reasons):
        terminalreporter.write_line(reason, yellow=True, bold=True)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Say which threads a test has left that Python would now wait for, perhaps for ever, and do not wait."""
    left = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    for thread in left:
        thread.join(60)
    if any(thread.is_alive() for thread in left):
        print(f"These threads would not end: {left}", flush=True)
        faulthandler.dump_traceback()
        os._exit(1)
