"""Waits that are not all alike."""

from __future__ import annotations

import random

from causal_otel._internal.jitter import jittered


def test_within_its_bounds() -> None:
    """A wait is somewhere between the two shares of it that are given, and not always at the same place."""
    waits = [jittered(10.0, 0.8, 1.2) for _ in range(200)]
    assert all(8.0 <= wait <= 12.0 for wait in waits)
    assert len(set(waits)) > 100
    assert jittered(10.0, 1.0, 1.0) == 10.0


def test_no_seed_makes_it_repeat() -> None:
    """Processes that are all seeded alike do not wait alike."""
    random.seed(7)
    first = [jittered(1.0, 0.0, 1.0) for _ in range(5)]
    random.seed(7)
    assert [jittered(1.0, 0.0, 1.0) for _ in range(5)] != first


def test_the_numbers_of_a_seeded_program_stay() -> None:
    """A program that has seeded ``random`` gets the numbers that it would get without us."""
    random.seed(7)
    expected = [random.random() for _ in range(3)]
    random.seed(7)
    found = []
    for _ in range(3):
        jittered(1.0, 0.8, 1.2)
        found.append(random.random())
    assert found == expected
