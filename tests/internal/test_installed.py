"""What other packages offer, as the standard library says it."""

from __future__ import annotations

import sys
from importlib import metadata

import pytest

from causal_otel._internal.installed import entry_points


@pytest.mark.parametrize("private", [True, False], ids=["kept by the API", "read again"])
def test_entry_points(private: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those that the standard library finds, with the API's private module and without it."""
    if not private:
        monkeypatch.setitem(sys.modules, "opentelemetry.util._importlib_metadata", None)
    expected = {(point.name, point.value) for point in metadata.entry_points(group="opentelemetry_propagator")}
    assert {(point.name, point.value) for point in entry_points("opentelemetry_propagator")} == expected != set()
    assert not entry_points("causal_otel.nobody_offers_this")
