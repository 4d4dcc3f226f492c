"""Fixtures of the tests of the servers and processes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testing.footprints import Footprint


@pytest.fixture
def footprint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Footprint]:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder).resolve()
        directory.chmod(0o755)  # the user nobody must get in
        monkeypatch.setenv("TMPDIR", str(directory))
        monkeypatch.setattr(tempfile, "tempdir", str(directory))
        yield Footprint(directory)
