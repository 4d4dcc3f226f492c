"""The table of what ``causal-otel doctor`` finds, from its checks."""

from __future__ import annotations

from causal_otel.doctor.examination import KINDS

__all__ = ["reference"]


def reference() -> str:
    """A row a kind, in the order of consequence."""
    rows = [
        f"| `{kind.code}` | {kind.severity} | {kind.title} {kind.why} |"
        for kind in sorted(KINDS, key=lambda kind: kind.severity)
    ]
    return "\n".join(("| finding | severity | what it says, and why it matters |", "|---|---|---|", *rows)) + "\n"
