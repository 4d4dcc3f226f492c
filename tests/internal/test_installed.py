"""What other packages offer, as the standard library says it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from causal_otel._internal.installed import entry_points


@pytest.mark.parametrize("group", ["opentelemetry_propagator", "opentelemetry_context", "pytest11", "console_scripts"])
def test_entry_points(group: str) -> None:
    """They are those that the standard library finds."""
    expected = {(point.name, point.value) for point in metadata.entry_points(group=group)}
    assert {(point.name, point.value) for point in entry_points(group)} == expected != set()


def test_nobody_offers_any() -> None:
    """Where no package has such a group there are none."""
    assert not entry_points("causal_otel.nobody_offers_this")


def test_two_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two copies of a package the first one in the path counts; a package with other groups only is left out."""
    for place, value in (("first", "one:PATCH"), ("second", "two:PATCH")):
        copy = tmp_path / place / "acme-1.0.dist-info"
        copy.mkdir(parents=True)
        (copy / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        (copy / "entry_points.txt").write_text(f"[acme.patches]\nacmedb = {value}\n[acme.others]\nx = y:z\n")
    monkeypatch.syspath_prepend(str(tmp_path / "second"))
    monkeypatch.syspath_prepend(str(tmp_path / "first"))
    assert [(point.name, point.value) for point in entry_points("acme.patches")] == [("acmedb", "one:PATCH")]
