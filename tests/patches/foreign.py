"""Span processors, samplers, ids and spans of the user's that raise, on either provider."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

import causal_otel
from causal_otel.engine.provider import TracerProvider as OurProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "PATCHES",
    "PROVIDERS",
    "BrokenIds",
    "BrokenSampler",
    "BrokenSpan",
    "BrokenSpans",
    "BrokenSpansProvider",
    "Foreign",
    "MuteSampler",
    "broken_processor",
    "fail",
    "installed",
    "ours",
    "theirs",
]

PATCHES = ["asgi", "asyncpg", "celery", "httpx", "neo4j", "redis"]


class Foreign(Exception):
    """What the user's processors, samplers and the like raise."""


def fail(*_: Any, **__: Any) -> Any:
    raise Foreign("a bug of the user's")


def broken_processor(method: str, error: type[BaseException] = Foreign) -> sdk.SpanProcessor:
    """A processor that raises in one of its methods."""

    def raising(*_: Any, **__: Any) -> None:
        raise error("a bug of the user's")

    kind: type[sdk.SpanProcessor] = type("Broken", (sdk.SpanProcessor,), {method: raising})
    return kind()


class BrokenSampler(Sampler):
    should_sample = fail

    def get_description(self) -> str:
        return "broken"


class MuteSampler(BrokenSampler):
    def should_sample(self, *_: Any, **__: Any) -> Any:
        return None


class BrokenIds(RandomIdGenerator):
    generate_span_id = fail


class BrokenSpan(trace.NonRecordingSpan):
    """A span of neither the SDK's kind nor ours, whose methods raise."""

    set_attribute = set_attributes = set_status = record_exception = update_name = add_event = add_link = end = fail

    def is_recording(self) -> bool:
        return True


class BrokenSpans(trace.Tracer):
    """Makes such spans."""

    start_as_current_span = fail

    def start_span(self, *_: Any, **__: Any) -> trace.Span:
        identity = trace.SpanContext(random.getrandbits(128), random.getrandbits(64), False, trace.TraceFlags(1))
        return BrokenSpan(identity)


class BrokenSpansProvider(trace.TracerProvider):
    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        return BrokenSpans()


def theirs(
    method: str = "", *, sampler: Sampler = ALWAYS_ON, ids: IdGenerator | None = None
) -> Callable[[], sdk.TracerProvider]:
    """Makes a provider of the SDK's with a processor whose ``method`` raises."""

    def make() -> sdk.TracerProvider:
        provider = sdk.TracerProvider(sampler=sampler, id_generator=ids, shutdown_on_exit=False)
        if method:
            provider.add_span_processor(broken_processor(method))
        return provider

    return make


def ours(method: str = "", *, sampler: Sampler = ALWAYS_ON) -> Callable[[], sdk.TracerProvider]:
    """The same of our own provider."""

    def make() -> sdk.TracerProvider:
        provider = OurProvider(sampler=sampler)
        if method:
            provider.add_span_processor(broken_processor(method))
        return provider

    return make


PROVIDERS: dict[str, tuple[Callable[[], trace.TracerProvider], str]] = {
    "their on_start": (theirs("on_start"), "your tracer provider: start_span"),
    "their on_ending": (theirs("_on_ending"), "your tracer provider: Span.end"),
    "their on_end": (theirs("on_end"), "your tracer provider: Span.end"),
    "their sampler": (theirs(sampler=BrokenSampler()), "your tracer provider: start_span"),
    "their mute sampler": (theirs(sampler=MuteSampler()), "your tracer provider: start_span"),
    "their ids": (theirs(ids=BrokenIds()), "your tracer provider: start_span"),
    "their spans": (BrokenSpansProvider, "your tracer provider: Span.end"),
    "our on_start": (ours("on_start"), "span processor Broken: on_start"),
    "our on_ending": (ours("_on_ending"), "span processor Broken: on_ending"),
    "our on_end": (ours("on_end"), "span processor Broken: on_end"),
    "our sampler": (ours(sampler=BrokenSampler()), "sampler BrokenSampler"),
    "our mute sampler": (ours(sampler=MuteSampler()), "sampler MuteSampler"),
}


@contextmanager
def installed(provider: trace.TracerProvider) -> Iterator[Callable[[], dict[str, int]]]:
    """Trace by ``provider``; yields what counts the faults since."""
    installation = causal_otel.install(patches=PATCHES, tracer_provider=provider)

    def faults() -> dict[str, int]:
        found = {site: count - before.get(site, 0) for site, count in causal_otel.status().faults.items()}
        return {site: count for site, count in found.items() if count}

    before = dict(installation.status().faults)
    try:
        yield faults
    finally:
        installation.uninstall()
