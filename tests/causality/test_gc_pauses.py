"""Garbage collections are noted while somebody watches, with the thread that ran them."""

from __future__ import annotations

import gc
import threading
from _thread import get_ident
from time import perf_counter_ns

from causal_otel.causality import gc_pauses
from tests.causality.blocking import graph


def test_a_long_collection_is_an_interval_of_its_thread() -> None:
    """It is told of the time in which it was, of the process and of the thread that ran it, and of no other thread."""
    end = gc_pauses.watch()
    try:
        with graph():
            before, total = perf_counter_ns(), gc_pauses.collected()
            gc.collect()
            after = perf_counter_ns()
        found = gc_pauses.pauses.between(before, after)
        assert 1_000_000 <= found <= after - before
        assert gc_pauses.of_thread(get_ident(), before, after) == found
        assert gc_pauses.of_thread(get_ident(), after, after + 1_000_000) == 0
        assert gc_pauses.of_thread(1, before, after) == 0
        assert found <= gc_pauses.collected() - total <= after - before
    finally:
        end()


def test_one_in_another_thread() -> None:
    """It stops the process as well."""
    end = gc_pauses.watch()
    try:
        with graph():
            before = perf_counter_ns()
            thread = threading.Thread(target=gc.collect)
            thread.start()
            thread.join()
            after = perf_counter_ns()
        assert gc_pauses.pauses.between(before, after) >= 1_000_000
        assert thread.ident is not None
        assert gc_pauses.of_thread(thread.ident, before, after) >= 1_000_000
    finally:
        end()


def test_python_is_asked_only_while_somebody_watches() -> None:
    """The callback is there once, however many watch, and gone with the last of them."""
    before = list(gc.callbacks)
    first, second = gc_pauses.watch(), gc_pauses.watch()
    assert len(gc.callbacks) - len(before) == (0 if gc_pauses._noted in before else 1)
    first()
    assert gc_pauses._noted in gc.callbacks
    second()
    assert gc.callbacks == before


def test_a_collection_that_had_begun_before() -> None:
    """Whoever begins to watch in the middle of one is told nothing of it."""
    total = gc_pauses.collected()
    gc_pauses._noted("stop", {})
    assert gc_pauses.collected() == total
