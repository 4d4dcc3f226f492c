"""The options of the patch for Celery."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from causal_otel.instrument.exclusion import match_names
from causal_otel.instrument.options import Options
from causal_otel.patches.celery.headers import BEAT, PUBLISHED, field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from causal_otel.instrument.exclusion import Excluded

__all__ = ["CeleryOptions", "LinkWhen"]

_BEATS = "celery_beat_task"
"""The header with which Celery's beat, since 5.7, marks what it sends; it may be one that is not traced."""


@dataclass(frozen=True, kw_only=True)
class LinkWhen:
    """Which attempts at tasks begin a trace of their own that is linked to who sent them.

    All others go on in that trace. Retries stay in the trace of the first attempt, and members of a chord's header in
    that of the chord.

    Args:
        always: all of them.
        tasks: those at tasks of such names, as ``reports.*``, in any case.
        older: those whose message was sent more than so many seconds before; None: however long ago that was.
        beat: those at tasks that beat has sent, if it is traced or is that of Celery 5.7.
        rescheduled: those at tasks that an attempt at the same task has sent, but for retries and canvases. Otherwise a
            task that sends itself would be one trace without an end.
    """

    always: bool = False
    tasks: tuple[str, ...] = ()
    older: float | None = None
    beat: bool = False
    rescheduled: bool = True

    @cached_property
    def _matches(self) -> Excluded:
        return match_names(self.tasks)

    @cached_property
    def asks(self) -> bool:
        """Whether anything but ``rescheduled`` is asked for."""
        return self.always or bool(self.tasks) or self.older is not None or self.beat

    def fits(self, name: str, request: Mapping[str, Any]) -> bool:
        """Whether an attempt at the task ``name`` that is asked for by the message ``request`` is one of these."""
        if self.always or (self.tasks and self._matches(name)):
            return True
        if self.beat and (field(request, BEAT) or field(request, _BEATS)):
            return True
        published = None if self.older is None else field(request, PUBLISHED)
        return isinstance(published, int | float) and time.time() - published > (self.older or 0.0)


_ALWAYS, _NEVER, _BY_DEFAULT = LinkWhen(always=True), LinkWhen(rescheduled=False), LinkWhen()


@dataclass(frozen=True, kw_only=True)
class CeleryOptions(Options):
    """The options of the patch for Celery.

    Where a task is sent, the hooks are called with the span, the application, and the positional and keyword arguments
    of its ``send_task()``, which begin with the task's name; ``response_hook`` with the ``AsyncResult`` as well, or the
    exception. Where one is executed, they are called with the span, the task and its request
    (``celery.app.task.Context``), which tells of the message; ``response_hook`` with what the task has returned or
    raised as well, ``Retry``, ``Ignore`` and ``Reject`` included. Where the main process ends an execution, it calls
    both, one after the other, with the error that says why.

    Args:
        excluded: names of tasks, such as ``reports.*``, in any case: neither sent nor executed in a trace that is
            recorded.
        result_backend: whether what the result backend does inside a span is recorded by the patch of its driver:
            storing a result, asking for one, counting the parts of a chord.
        flush_timeout: how long a worker process that leaves may take to export its last spans, in seconds.
        link: which attempts begin a trace of their own, linked to who sent them. True: all of them; False: none, not
            even those at tasks that send themselves.
        cpu_time: whether an attempt tells how long it computed. None: what the setting ``cpu_time`` says, which is True
            by default.
    """

    result_backend: bool = False
    flush_timeout: float = 2.0
    link: bool | LinkWhen = _BY_DEFAULT
    cpu_time: bool | None = None

    @cached_property
    def link_when(self) -> LinkWhen:
        """What ``link`` says, in full."""
        if isinstance(self.link, LinkWhen):
            return self.link
        return _ALWAYS if self.link else _NEVER
