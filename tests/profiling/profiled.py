"""Spans that are profiled, and functions to be found in their profiles."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import causal_otel
from causal_otel._internal import faults
from causal_otel.causality.folded import hottest, stacks
from causal_otel.causality.long_spans import observer
from causal_otel.engine.provider import TracerProvider
from causal_otel.names import CAUSAL_PROFILE
from causal_otel.profiling.sampler import Sampler

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Profiling", "profiling"]

_RATE = 200.0


class Profiling:
    """A provider whose spans are profiled, and those that have ended."""

    def __init__(self, sampler: Sampler, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        self.sampler = sampler
        self.tracer = provider.get_tracer("tests")
        self._exporter = exporter

    def burn(self, samples: int = 12) -> None:
        """Compute until so many samples were taken. Half of them and more are of :meth:`boil`."""
        until = self.sampler.samples + samples
        deadline = time.monotonic() + 60
        while self.sampler.samples < until and time.monotonic() < deadline:
            self.boil()

    def boil(self) -> None:
        """Compute for some milliseconds."""
        end = time.thread_time() + 0.005
        while time.thread_time() < end:
            pass

    def look(self, looks: int = 8) -> None:
        """Compute until the sampler has looked so many times, whether or not there was anything to be seen."""
        until = self.sampler.looks + looks
        deadline = time.monotonic() + 60
        while self.sampler.looks < until and time.monotonic() < deadline:
            self.boil()

    def told(self, name: str) -> dict[str, Any]:
        """The attributes of the only span of that name."""
        (span,) = [span for span in self._exporter.get_finished_spans() if span.name == name]
        return dict(span.attributes or {})

    def profile(self, name: str) -> list[tuple[tuple[str, ...], int]]:
        """The profile of that span; empty: it has none."""
        return stacks(self.told(name).get(CAUSAL_PROFILE, ""))

    def assert_hot(self, name: str, function: str = "Profiling.boil()") -> None:
        """Assert that the profile of that span names ``function`` with most of the samples."""
        profile = self.profile(name)
        seen = sum(count for _, count in profile)
        assert hottest(profile)[0][0].startswith("profiling/profiled.py:"), profile
        of_function = sum(count for frame, count in hottest(profile) if frame.endswith(f" {function}"))
        assert of_function * 2 > seen, f"{of_function} of {seen} samples: {profile}"


@contextmanager
def profiling(*, failing: bool = False) -> Iterator[Profiling]:
    """Profile the spans of a provider of its own; on leaving, nothing of ours may have failed, unless ``failing``."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "tests"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before = faults.counts()
    sampler = Sampler(_RATE)
    provider.core.long_span = sampler.observe(observer())
    installed = causal_otel.install(patches=["threads", "event_loop"], tracer_provider=provider)
    try:
        yield Profiling(sampler, provider, exporter)
        assert failing or faults.counts() == before, "something of ours failed and was contained"
    finally:
        sampler.close()
        installed.uninstall()
        provider.shutdown()
