"""Why a trace took as long as it did, in words: :func:`explain`.

Everything in here works on :mod:`causal_otel.causality.spans`, imports nothing of the tracer, and gives the same for
the same spans.
"""

from __future__ import annotations

from causal_otel.causality.explanation.difference import Difference, difference
from causal_otel.causality.explanation.explain import MOST_BYTES, Explanation, explain, explanation_of
from causal_otel.causality.explanation.findings import Finding
from causal_otel.causality.explanation.gaps import Gap, gaps
from causal_otel.causality.explanation.operations import (
    Call,
    OperationExplanation,
    OperationPart,
    Percentile,
    call_of,
    explain_operation,
)
from causal_otel.causality.explanation.outline import Step
from causal_otel.causality.explanation.scene import Scene
from causal_otel.causality.explanation.shares import Phase, Share

__all__ = [
    "MOST_BYTES",
    "Call",
    "Difference",
    "Explanation",
    "Finding",
    "Gap",
    "OperationExplanation",
    "OperationPart",
    "Percentile",
    "Phase",
    "Scene",
    "Share",
    "Step",
    "call_of",
    "difference",
    "explain",
    "explain_operation",
    "explanation_of",
    "gaps",
]
