"""What tests of metrics share with those of the patches."""

from __future__ import annotations

from tests.patches.conftest import broker

__all__ = ["broker"]
