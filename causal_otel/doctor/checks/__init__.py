"""The checks, a family a file: each has its ``KINDS``, and ``check(facts)`` that yields what it finds.

:data:`FAMILIES` is in the order of consequence.
"""

from __future__ import annotations

from types import ModuleType

from causal_otel.doctor.checks import (
    application,
    configuration,
    delivery,
    libraries,
    losses,
    patches,
    sampling,
    servers,
    tracers,
)

__all__ = ["FAMILIES"]

FAMILIES: tuple[ModuleType, ...] = (
    application,
    configuration,
    libraries,
    patches,
    tracers,
    delivery,
    sampling,
    losses,
    servers,
)
