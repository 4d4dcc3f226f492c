"""Fixtures of the tests of export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.resources import Resource

from causal_otel.engine.provider import TracerProvider
from causal_otel.export.spool import Spool
from causal_otel.export.worker import Worker
from tests.export.spooling import PLENTY
from tests.export.workers import MakeWorker, ScriptedTransport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool"


@pytest.fixture
def spool(directory: Path) -> Iterator[Spool]:
    spool = Spool(directory, PLENTY)
    yield spool
    spool.close()


@pytest.fixture
def transport() -> ScriptedTransport:
    """The one that workers of the fixture ``make`` send by."""
    return ScriptedTransport()


@pytest.fixture
def make(transport: ScriptedTransport) -> Iterator[MakeWorker]:
    """Makes a worker with a provider, and stops them."""
    providers = []

    def make(**options: Any) -> tuple[Worker, TracerProvider]:
        worker = Worker(lambda: transport, **{"schedule_delay": 60.0, **options})
        provider = TracerProvider(resource=Resource({}))
        provider.add_span_processor(worker)
        providers.append(provider)
        return worker, provider

    yield make
    transport.gate.set()
    for provider in providers:
        provider.shutdown()
