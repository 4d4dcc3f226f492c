"""Fixtures of the tests of transports."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def no_otel_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says about OTLP does not count."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
