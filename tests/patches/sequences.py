"""Random sequences of a driver's calls, with and without us: the user does not notice, and the spans are right.

A driver's test declares its steps, opens what they need (:data:`Opened`) and calls :func:`assert_unnoticed` for
sequences that Hypothesis makes of their names.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from hypothesis import HealthCheck
from opentelemetry.trace import StatusCode

from causal_otel.engine import context
from causal_otel.patch_choice import Patches
from tests.patches.either import settle
from tests.patches.planted.waits import parts
from tests.recording import Recording, recording
from tests.span_relations import assert_sound

__all__ = ["AS_LONG_AS_IT_TAKES", "Opened", "Steps", "assert_unnoticed", "given_up"]

AS_LONG_AS_IT_TAKES: Any = {"deadline": None, "suppress_health_check": list(HealthCheck)}
"""How Hypothesis is to take it that servers and pauses are slow."""

Opened = Callable[[], AbstractAsyncContextManager[Any]]
"""Opens what a sequence uses: the same each time."""

Steps = Mapping[str, Callable[[Any], Any]]
"""What may be done with it, by functions or coroutine functions.

What a step returns or raises is compared, so it depends on nothing but the sequence.
"""

_VARIES = re.compile(r"0x[0-9a-f]+|__\w+_[0-9a-f]+__|127\.0\.0\.1:\d+|\b\d{5,}\b")
"""What differs from run to run in what drivers say: addresses of objects, names that they number, ports and ids."""


async def given_up(call: Awaitable[Any], after: float = 0.02) -> str:
    """Cancel ``call`` after so many seconds; what came of it."""
    task = asyncio.ensure_future(call)
    await asyncio.wait([task], timeout=after)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
        return "had ended"
    return "was cancelled"


async def _outcomes(opened: Opened, steps: Steps, sequence: Sequence[str]) -> list[tuple[str, str, str]]:
    """What each step returns or raises. After each, what is current is what was before."""
    found = []
    async with opened() as state:
        before, variables = context.current(), set(contextvars.copy_context())
        for name in sequence:
            try:
                result = await settle(steps[name](state))
            except Exception as error:
                found.append((name, type(error).__qualname__, _VARIES.sub("*", str(error))))
            else:
                found.append((name, "returned", _VARIES.sub("*", repr(result))))
            assert context.current() is before, f"{name} has left another context"
        assert variables <= set(contextvars.copy_context())
    return found


def assert_unnoticed(
    patches: Patches,
    opened: Opened,
    steps: Steps,
    sequence: Sequence[str],
    counts: Mapping[str, int],
    no_failures: Collection[str] = (),
) -> None:
    """Assert that a sequence does with us what it does without, and that each span ends once and tells the truth.

    Args:
        patches: what is installed.
        opened: opens what the steps use.
        steps: what they are.
        sequence: their names.
        counts: how many spans inside the root a step makes at least, where that is certain whatever came before.
        no_failures: names of exceptions of which no span need tell: nothing was asked of a server that has failed.
    """
    gc.freeze()  # so that steps which collect garbage look at what is theirs only
    try:
        _assert_unnoticed(patches, opened, steps, sequence, counts, no_failures)
    finally:
        gc.unfreeze()


def _assert_unnoticed(
    patches: Patches,
    opened: Opened,
    steps: Steps,
    sequence: Sequence[str],
    counts: Mapping[str, int],
    no_failures: Collection[str],
) -> None:
    bare = asyncio.run(_outcomes(opened, steps, sequence))
    with recording(patches) as recorded:
        traced = asyncio.run(_traced(recorded, opened, steps, sequence))
        gc.collect()
        assert traced == bare, [pair for pair in zip(traced, bare, strict=True) if pair[0] != pair[1]]
        _assert_spans(recorded)
        least = sum(counts.get(name, 0) for name in sequence)
        assert len(recorded.spans) - 1 >= least, (sequence, recorded.names())
        failed = sum(outcome not in {"returned", *no_failures} for _, outcome, _ in traced)
        errors = sum(span.status.status_code is StatusCode.ERROR for span in recorded.spans)
        assert errors >= failed, f"{failed} steps have raised, and {errors} spans say so"


async def _traced(recorded: Recording, opened: Opened, steps: Steps, sequence: Sequence[str]) -> Any:
    with recorded.tracer.start_as_current_span("root"):
        return await _outcomes(opened, steps, sequence)


def _assert_spans(recorded: Recording) -> None:
    spans = recorded.spans
    identities = [span.context.span_id for span in spans if span.context]
    assert len(identities) == len(set(identities)) == len(spans), "a span has ended twice"
    roots = [span for span in spans if span.parent is None]
    assert [span.name for span in roots] == ["root"]
    for span in spans:
        assert_sound(span)
        parts(span)
        assert span.parent is None or span.parent.span_id in identities, f"the parent of {span.name} has not ended"
