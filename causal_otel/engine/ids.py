"""Trace and span ids: random, unaffected by the user's ``random.seed()``, and never repeated after a fork."""

from __future__ import annotations

import os
import random
from functools import partial
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.id_generator import IdGenerator

from causal_otel._internal import process

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RandomIds"]


class RandomIds(IdGenerator):
    """Ids from a private generator seeded by the operating system (W3C Trace Context level 2: random trace ids).

    The global ``random`` generator would repeat ids whenever a program seeds it; a private one would repeat
    them in forked children, so it is seeded again there.
    """

    def __init__(self) -> None:
        self._random = random.Random(os.urandom(32))
        self._bits = self._random.getrandbits
        process.at_fork(in_child=self._reseed)

    def drawer(self, bits: int) -> Callable[[], int]:
        """A function that makes ids without a Python frame. One span id in 2**64 is zero, which is no valid id."""
        return partial(self._bits, bits)

    def generate_span_id(self) -> int:
        """64 random bits, never zero."""
        while not (span_id := self._bits(64)):
            pass
        return span_id

    def generate_trace_id(self) -> int:
        """128 random bits, never zero."""
        while not (trace_id := self._bits(128)):
            pass
        return trace_id

    def is_trace_id_random(self) -> bool:
        """Whether the W3C ``random`` flag may be set: always."""
        return True

    def _reseed(self) -> None:
        self._random.seed(os.urandom(32))
