"""Fixtures of the tests of export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from causal_otel.export.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

from tests.export.spooling import PLENTY


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool"


@pytest.fixture
def spool(directory: Path) -> Iterator[Spool]:
    spool = Spool(directory, PLENTY)
    yield spool
    spool.close()
