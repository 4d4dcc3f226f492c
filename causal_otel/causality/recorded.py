"""The attributes that spans have whoever has made them, for the pages that say what is recorded."""

from __future__ import annotations

from typing import Final

from causal_otel.names import (
    CAUSAL_CODE_ORIGIN,
    CAUSAL_GC,
    CAUSAL_LOCK_WAIT,
    CAUSAL_LOOP_BLOCKED,
    CAUSAL_LOOP_READY_WAIT,
    CAUSAL_PROFILE,
    CAUSAL_PROFILE_PERIOD,
    CAUSAL_PROFILE_SAMPLES,
    CAUSAL_TASK,
    CAUSAL_TASK_NAME,
    CAUSAL_TASK_UNAWAITED,
    CAUSAL_TASK_WAITER,
    CAUSAL_THREADPOOL_WAIT,
)

__all__ = ["NEVER", "RECORDED"]

RECORDED: Final = (
    *(CAUSAL_TASK, CAUSAL_TASK_NAME, CAUSAL_TASK_WAITER, CAUSAL_TASK_UNAWAITED),
    *(CAUSAL_LOOP_BLOCKED, CAUSAL_LOOP_READY_WAIT, CAUSAL_GC, CAUSAL_LOCK_WAIT, CAUSAL_THREADPOOL_WAIT),
    *(CAUSAL_CODE_ORIGIN, CAUSAL_PROFILE, CAUSAL_PROFILE_SAMPLES, CAUSAL_PROFILE_PERIOD),
)
"""On any span: of the patches, and of the application's own."""

NEVER: Final = ("source lines", "values of variables")
