"""Install patches in the test process and look at the spans they make."""

from __future__ import annotations

import re
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import causal_otel
from causal_otel._internal import faults
from causal_otel.causality.recorded import RECORDED
from causal_otel.engine.provider import TracerProvider
from causal_otel.instrument.registry import BUILT_IN
from causal_otel.names import (
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    DB_QUERY_PARAMETER,
    HTTP_REQUEST_HEADER,
    HTTP_RESPONSE_HEADER,
)
from tests.span_relations import assert_sound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.sampling import Sampler

    from causal_otel.instrumentors.choice import Instrumentors
    from causal_otel.patch_choice import Patches

__all__ = ["Recording", "recording"]

_OF_POOLS = {CAUSAL_POOL_WAIT, CAUSAL_POOL_SIZE, CAUSAL_POOL_WAITING}
_PREFIXES = DB_QUERY_PARAMETER, HTTP_REQUEST_HEADER, HTTP_RESPONSE_HEADER
_NAMED = re.compile(rf"({'|'.join(map(re.escape, _PREFIXES))})\..+")


class Recording:
    """The spans that have ended since the patches were installed, in the order of their ends."""

    def __init__(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        self.provider = provider
        self.tracer = provider.get_tracer("tests")
        self._exporter = exporter
        self._began = perf_counter()

    @property
    def spans(self) -> list[ReadableSpan]:
        """All of them."""
        return list(self._exporter.get_finished_spans())

    def names(self) -> list[str]:
        """Their names."""
        return [span.name for span in self.spans]

    def only(self, name: str | None = None) -> ReadableSpan:
        """The one span (of that name)."""
        found = [span for span in self.spans if name is None or span.name == name]
        assert len(found) == 1, f"wanted one span {name or ''}, have {self.names()}"
        return found[0]

    def clear(self) -> None:
        """Forget them, once :meth:`check` has looked at them."""
        self.check()
        self._exporter.clear()

    def check(self) -> None:
        """Assert of all spans of patches that they do not contradict themselves, and have only declared attributes."""
        elapsed = perf_counter() - self._began
        for span in self.spans:
            if _patch(span) in BUILT_IN:
                assert_sound(span, elapsed)
                waited = _OF_POOLS & (span.attributes or {}).keys()
                assert waited in (set(), _OF_POOLS), "a wait for a pool says how big it is and how many waited"
        assert _undeclared(self.spans) == set(), "docs/reference/privacy.md does not tell of these attributes"


def _patch(span: ReadableSpan) -> str:
    """The name of the patch that has made a span, or else of whoever has."""
    scope = span.instrumentation_scope
    return scope.name.removeprefix("causal_otel.") if scope is not None else ""


def _undeclared(spans: Iterable[ReadableSpan]) -> set[str]:
    """What the spans of patches have and their declarations do not tell. Tests set names without a dot themselves."""
    found = set()
    for span in spans:
        name = _patch(span)
        if name in BUILT_IN:
            records = {*BUILT_IN[name].load().records, *RECORDED}
            keys = {_NAMED.sub(r"\1", key) for key in span.attributes or {}}
            found |= {f"{name}: {key}" for key in keys if key not in records}
    return {each for each in found if "." in each}


@contextmanager
def recording(
    patches: Patches,
    sampler: Sampler | None = None,
    *,
    instrumentors: Instrumentors = None,
    require_parent: bool | None = None,
) -> Iterator[Recording]:
    """Install ``patches`` on a provider of their own; on leaving, nothing of ours may have failed inside."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, resource=Resource({"service.name": "tests"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before: dict[str, Any] = faults.counts()
    installed = causal_otel.install(
        patches=patches, instrumentors=instrumentors, tracer_provider=provider, require_parent=require_parent
    )
    recorded = Recording(provider, exporter)
    try:
        yield recorded
        assert faults.counts() == before, "something of ours failed and was contained"
        recorded.check()
    finally:
        installed.uninstall()
        provider.shutdown()
