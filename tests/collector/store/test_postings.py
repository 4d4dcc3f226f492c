"""Posting lists: how chunks of a tag are found, and how they are sorted."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from causal_otel.collector.store import postings
from causal_otel.collector.store.schema import slot
from causal_otel.collector.store.sorter import PostingSorter


class TestPostings:
    def test_find(self) -> None:
        """A slot finds every chunk of a tag, and for a frequent one nothing else of the frequent ones."""
        tags = {1: [5], 2: [1, 9, 2**20], 3: list(range(1, 300, 2)), 4: [2, 4, 6, 8]}
        blob = postings.encode(tags)
        assert sorted(set(postings.find(blob, 3))) == sorted({*tags[3], *tags[1], *tags[2]})
        for hashed, chunks in tags.items():
            assert set(chunks) <= set(postings.find(blob, hashed))
        assert 6 not in postings.find(blob, 1)
        assert postings.find(postings.encode({}), 1) == []

    def test_sorter(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is sorted in parts that go to the disk is the same as in memory."""
        monkeypatch.setattr("causal_otel.collector.store.sorter._BUFFERED", 100)
        rng = random.Random(1)
        expected = Counter[tuple[int, int]]()
        with closing(PostingSorter(tmp_path)) as sorter:
            for chunk in range(1, 2000):
                hashes = {rng.getrandbits(32) for _ in range(5)} | {12345, 2**32 - 1}
                sorter.add(chunk, hashes)
                expected.update((hashed, chunk) for hashed in hashes)
            bits = sorter.slot_bits()
            found = dict(row for part in sorter.parts(bits) for row in part)
        assert 2 ** (bits - 1) <= len(found) <= 2**bits
        assert not list(tmp_path.iterdir())
        assert all(
            chunk in postings.find(found[slot(hashed, bits)], hashed)
            for hashed, chunk in rng.sample(list(expected), 500)
        )
        assert postings.find(found[slot(12345, bits)], 12345)[:3] == [1, 2, 3]
