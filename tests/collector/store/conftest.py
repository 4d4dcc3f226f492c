"""A writer and its directory, and a reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.writer import Writer
from tests.collector.store.writers import writing


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "traces"


@pytest.fixture
def writer(directory: Path) -> Iterator[Writer]:
    with writing(directory) as writer:
        yield writer


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with Reader(tmp_path) as reader:
        yield reader
