"""Searches for whole traces at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.collector.jaeger.conftest import application, golden_messages, served
from tests.collector.oracle import MemoryReader

if TYPE_CHECKING:
    from causal_otel.collector.query import Found, Query

_SEARCHES = {
    "api": "/api/traces?service=gold-front&start=1795377540000000&end=1795381200000000",
    "v3": "/api/v3/traces?query.serviceName=gold-front"
    "&query.startTimeMin=2026-11-22T19:59:00Z&query.startTimeMax=2026-11-22T21:00:00Z",
}


class _SlowReader(MemoryReader):
    """Its searches wait for ``go``; ``most`` is how many were ever under way."""

    def __init__(self) -> None:
        super().__init__(golden_messages())
        self.begun, self.go = threading.Event(), threading.Event()
        self.under_way = self.most = 0
        self._lock = threading.Lock()

    def search(self, query: Query, *, seconds: float = 2.0) -> Found:
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        self.begun.set()
        assert self.go.wait(20)
        try:
            return super().search(query, seconds=seconds)
        finally:
            with self._lock:
                self.under_way -= 1


@pytest.mark.parametrize("family", _SEARCHES)
def test_one_search_for_whole_traces_at_a_time(family: str) -> None:
    """Each may take a gigabyte, so they follow each other; other questions are answered meanwhile."""
    reader = _SlowReader()
    with served(application(reader)) as client, ThreadPoolExecutor(4) as pool:
        try:
            asked = [pool.submit(client.get, _SEARCHES[family]) for _ in range(4)]
            assert reader.begun.wait(20)
            assert client.get("/api/services").status_code == 200
            assert client.get("/api/v3/services").status_code == 200
        finally:
            reader.go.set()
        assert [each.result(60).status_code for each in asked] == [200] * 4
    assert reader.most == 1
