"""Runs the checks, and puts what they find in the order of consequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.doctor.checks import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.doctor.facts import Facts
    from causal_otel.doctor.finding import Finding, Kind

__all__ = ["KINDS", "examine"]

KINDS: tuple[Kind, ...] = tuple(kind for family in FAMILIES for kind in family.KINDS)
"""All kinds of findings there are."""


def examine(facts: Facts) -> Sequence[Finding]:
    """All that is found: the gravest first, and of equal ones the family that comes first."""
    found = [finding for family in FAMILIES for finding in family.check(facts)]
    return sorted(found, key=lambda finding: finding.kind.severity)
