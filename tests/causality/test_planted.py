"""The table of planted causes: the first line of ``causal-otel why`` names each, and its share, on both event loops."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import httpx
import pytest
from rich.console import Console

from causal_otel.cli.demo.slow.causes import CAUSES, PLANTED, Cause
from causal_otel.cli.demo.slow.play import plant
from causal_otel.cli.demo.slow.stage import slow_stage
from causal_otel.cli.demo.stage import Stage

_FOUND = 0.8
"""Of what was planted must be found in the cause's share."""


@pytest.fixture(scope="module", params=["asyncio", pytest.param("uvloop", marks=pytest.mark.long)])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The slow demo, with its API on that loop."""
    with slow_stage(Console(file=io.StringIO()), loop=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def client(stage: Stage) -> Iterator[httpx.Client]:
    """A client of its API."""
    with httpx.Client(base_url=stage.api_url, timeout=60, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("cause", CAUSES, ids=[cause.name for cause in CAUSES])
def test_the_cause_is_named(cause: Cause, stage: Stage, client: httpx.Client) -> None:
    """The sentence has a share whose words are the cause's, of at least four fifths of what was planted."""
    explanation = plant(stage, client, cause).explanation
    phase = explanation.answer if cause.until is None else explanation.afterwards
    assert phase is not None, explanation.text()
    named = next((share for share in phase.shares if re.search(cause.says, share.label)), None)
    assert named is not None, explanation.text()
    assert named.nanoseconds >= _FOUND * PLANTED * 1e9, explanation.text()
    assert named.label in explanation.text().splitlines()[0]
