"""Receivers of Celery's signals, those without a cost for a task: of the start and the end of processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["connected"]


def connected(receivers: Mapping[str, Callable[..., Any]], purpose: str) -> Callable[[], None]:
    """Connect receivers until what this returns is called.

    Args:
        receivers: by the names of signals.
        purpose: tells them from others of ours at the same signal.
    """
    from celery import signals

    def of(name: str) -> str:
        return f"causal_otel.{purpose}.{name}"

    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver, weak=False, dispatch_uid=of(name))

    def disconnect() -> None:
        for name in receivers:
            getattr(signals, name).disconnect(dispatch_uid=of(name))

    return disconnect
