"""The attempt at a task that is under way in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import create_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from causal_otel.causality.thread_cpu import ThreadCpu
    from causal_otel.instrument.operation import Running

__all__ = ["ATTEMPT", "Attempt"]

ATTEMPT = create_key("causal-otel-celery-attempt")
"""The key in a context of the :class:`Attempt` whose code runs there: what is published then is published by it."""


class Attempt:
    """An attempt at a task, in the process that executes it.

    Attributes:
        name: the task's name.
        request: the message's headers and what Celery adds to them: ``id``, ``group``, ``chain``, ...
        running: the operation; None: it is neither recorded nor measured.
        cpu: what its thread computes; None: it is not recorded.
        following: the next task of its chain; None: there is none.
        roles: for :mod:`causal_otel.patches.celery.roles` to remember.
    """

    __slots__ = ("cpu", "following", "name", "request", "roles", "running")

    def __init__(self, name: str, request: Mapping[str, Any], running: Running | None) -> None:
        self.name = name
        self.request = request
        self.running = running
        self.cpu: ThreadCpu | None = None
        chain = request.get("chain")
        self.following = chain[-1] if chain else None  # Celery before 5.7 takes it out before it sends it
        self.roles: dict[Any, Any] | None = None
