"""Hooks of a patch that keep what they are told, on our provider and on the SDK's, and may raise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import Span, SpanKind

import causal_otel
from causal_otel._internal import faults
from causal_otel.engine.provider import TracerProvider as OurProvider
from causal_otel.instrument.registry import BUILT_IN
from tests.span_relations import assert_span, attributes

__all__ = ["PROVIDERS", "Hooked", "Told", "hooked", "told_well"]

PROVIDERS: dict[str, Any] = {"ours": OurProvider, "theirs": sdk.TracerProvider}
"""The classes of providers that a program may have."""


class Broken(Exception):
    """What hooks raise."""


class Told(NamedTuple):
    """A recorded span, its parent if that was recorded, and what the hooks were called with."""

    span: sdk.ReadableSpan
    parent: sdk.ReadableSpan | None
    asked: tuple[Any, ...]
    answered: tuple[Any, ...]


class Hooked:
    """What hooks were called with.

    Attributes:
        asked: the span and the objects of each call of the ``request_hook``.
        answered: the same of the ``response_hook``.
    """

    def __init__(self, scope: str, raises: bool) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answered: list[tuple[Any, ...]] = []
        self.exporter = InMemorySpanExporter()
        self._scope = scope
        self._raises = raises

    def request(self, span: Span, *objects: Any) -> None:
        """The one hook."""
        self.asked.append((span, *objects))
        self._mark(span, "asked", len(self.asked))

    def response(self, span: Span, *objects: Any) -> None:
        """The other."""
        self.answered.append((span, *objects))
        self._mark(span, "answered", len(self.answered))

    def _mark(self, span: Span, key: str, value: int) -> None:
        assert span.is_recording()
        span.set_attribute(key, value)
        if self._raises:
            raise Broken(key)

    def spans(self) -> list[sdk.ReadableSpan]:
        """Those of the patch that have ended."""
        ended = self.exporter.get_finished_spans()
        return [span for span in ended if span.instrumentation_scope and span.instrumentation_scope.name == self._scope]

    def told(self) -> list[Told]:
        """All spans of the patch, for each of which each hook was called once, with that very span."""
        spans = self.spans()
        assert len(self.asked) == len(self.answered) == len(spans), [span.name for span in spans]
        by_id = {span.context.span_id: span for span in self.exporter.get_finished_spans()}
        found = []
        for span in spans:
            told = attributes(span)
            request, response = self.asked[told["asked"] - 1], self.answered[told["answered"] - 1]
            assert request[0].get_span_context() == response[0].get_span_context() == span.get_span_context()
            assert not request[0].is_recording(), "it has ended since"
            parent = by_id[span.parent.span_id] if span.parent is not None else None
            found.append(Told(span, parent, request[1:], response[1:]))
        return found

    def only(self, name: str) -> Told:
        """That of the only span."""
        [told] = self.told()
        assert told.span.name == name
        return told


@contextmanager
def hooked(
    patch: str, provider: Any = OurProvider, *, raises: bool = False, sampler: Sampler = ALWAYS_ON, **options: Any
) -> Iterator[Hooked]:
    """Install one patch with hooks. On leaving, nothing has failed but the hooks that are to raise.

    Args:
        patch: its name.
        provider: the class of the provider.
        raises: whether the hooks raise.
        sampler: the provider's.
        options: further ones of the patch.
    """
    made = provider(sampler=sampler)
    found = Hooked(f"causal_otel.{patch}", raises)
    made.add_span_processor(SimpleSpanProcessor(found.exporter))
    before = faults.counts()
    chosen = BUILT_IN[patch].load().options(request_hook=found.request, response_hook=found.response, **options)
    installed = causal_otel.install(patches={patch: chosen}, tracer_provider=made)
    try:
        yield found
        failed = {site: count - before.get(site, 0) for site, count in faults.counts().items()}
        expected = {"Hooks: started": len(found.asked), "Hooks: ended": len(found.answered)} if raises else {}
        assert {site: count for site, count in failed.items() if count} == expected
    finally:
        installed.uninstall()
        made.shutdown()


def told_well(told: Told, seconds: float = 0.0) -> dict[str, Any]:
    """Assert what a span of an operation tells that went well and took ``seconds`` at least; returns its attributes."""
    assert told.span.kind is SpanKind.CLIENT
    assert told.parent is not None
    return assert_span(told.span, told.parent, lasts=seconds)
