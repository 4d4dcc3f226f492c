"""What a moment on the critical path was spent on: categories, with the names that backend engineers use for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from causal_otel.causality.folded import hottest, stacks
from causal_otel.causality.spans.stalls import is_stall, stalled_by
from causal_otel.causality.spans.targets import a_connection_to, is_database, named, queue, target
from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_DISCOVERY,
    CAUSAL_FETCH,
    CAUSAL_LINK,
    CAUSAL_LOCK_HOLDER,
    CAUSAL_LOCK_KIND,
    CAUSAL_LOCK_WAIT,
    CAUSAL_POOL_SETUP,
    CAUSAL_POOL_WAIT,
    CAUSAL_PROFILE,
    CAUSAL_RECEIVE,
    CAUSAL_RETRY_WAIT,
    CAUSAL_SEND,
    CAUSAL_THREADPOOL_WAIT,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.causality.spans import Span

__all__ = ["HOLDER", "LOOP_BLOCKED", "Category", "Namer", "is_lock_wait"]

LOOP_BLOCKED = "loop_blocked"
"""The kind of a category whose label says by what."""

HOLDER = "holder"
"""What a link to the span of whoever held a lock has as its ``causal.link``."""


class Category(NamedTuple):
    """What time was spent on.

    Attributes:
        kind: a stable word for programs, such as ``pool_wait``.
        label: for people, such as ``waiting for a PostgreSQL connection``.
        detail: what is another in another trace, such as who held a lock.
    """

    kind: str
    label: str
    detail: str = ""

    @property
    def general(self) -> str:
        """What it is called in any trace."""
        return f"loop blocked {self.label}" if self.kind == LOOP_BLOCKED else self.label

    @property
    def text(self) -> str:
        """What it is called in this one."""
        return self.general + self.detail


def is_lock_wait(span: Span) -> bool:
    """Whether a span is one wait for a lock, a semaphore, a condition or a queue of this process."""
    return span.name.startswith("wait ") and CAUSAL_LOCK_KIND in span.attributes


class Namer:
    """Names what spans spend their time on.

    Args:
        home: the service whose code needs no name.
        find: the span with an id in a trace, by both ids, if it is known.
    """

    def __init__(self, home: str, find: Callable[[str, str], Span | None]) -> None:
        self._home = home
        self._find = find

    def itself(self, span: Span, *, served: bool) -> Category:
        """What a span does where nothing else is known of it.

        Args:
            span: the span.
            served: whether the server's side of the call is in the trace: what is left is the way there and back.
        """
        if is_stall(span):
            return Category(LOOP_BLOCKED, f"by {stalled_by(span)}")
        if is_lock_wait(span):
            return self.lock(span)
        if span.kind == "client":
            if is_database(span):
                return Category("database", target(span))
            if served:
                return Category("network", f"on the way to {target(span)} and back")
            return Category("remote", f"waiting for {target(span)}")
        if span.kind == "producer":
            return Category("publish", f"sending to {queue(span)}")
        return self.own(span)

    def own(self, span: Span) -> Category:
        """The code of the service: nothing more is known of the time."""
        if (task := _unawaited(span)) is not None:
            return Category(
                "unawaited_task", self.somewhere("in a task that nobody awaited", span), f" ({named(task.name)})"
            )
        return Category("own_code", self.somewhere("own code", span), _seen_most(span))

    def computing(self, span: Span) -> Category:
        """The thread was at work."""
        return Category("computing", self.somewhere("computing", span), _seen_most(span))

    def collecting(self, span: Span) -> Category:
        """The garbage collector was at work."""
        return Category("garbage_collection", self.somewhere("garbage collection", span))

    def ready(self, span: Span) -> Category:
        """It could have gone on, and others were before it."""
        return Category("ready_wait", self.somewhere("waiting for its turn on the event loop", span))

    def untraced(self, span: Span) -> Category:
        """It neither computed, nor did anything that is traced."""
        return Category("untraced", self.somewhere("nothing traced: waiting", span))

    def somewhere(self, label: str, span: Span) -> str:
        """A label, with the service if that is not the one that all is about."""
        return label if span.service == self._home else f"{label} ({named(span.service)})"

    def part(self, span: Span, key: str) -> Category | None:
        """What the part of a span's time is called that an attribute tells; None: as the rest of the span."""
        if key == CAUSAL_LOCK_WAIT:
            if is_lock_wait(span):
                return None
            if is_database(span):
                return Category("redis_lock", f"waiting for a {target(span)} lock")
            return Category("lock_wait", "waiting for a lock")
        if key == CAUSAL_POOL_WAIT:
            return Category("pool_wait", f"waiting for {a_connection_to(span)}")
        if key == CAUSAL_CONNECT:
            return Category("connect", f"connecting to {target(span)}")
        if key == CAUSAL_POOL_SETUP:
            return Category("pool_setup", f"preparing {a_connection_to(span)}")
        if key == CAUSAL_DISCOVERY:
            return Category("discovery", f"asking which {target(span)} server to talk to")
        if key == CAUSAL_RETRY_WAIT:
            return Category("retry_wait", f"pausing before another attempt at {target(span)}")
        if key == CAUSAL_FETCH:
            rows = f"more rows ({target(span)})" if is_database(span) else f"the body from {target(span)}"
            return Category("fetch", f"waiting for {rows}")
        return _OF_REQUESTS.get(key)

    def thread(self) -> Category:
        """A pool of threads had none that was free."""
        return _OF_REQUESTS[CAUSAL_THREADPOOL_WAIT]

    def queued(self, span: Span) -> Category:
        """A message lay in its queue."""
        return Category("queue_wait", f"waiting in {queue(span)}")

    def prefetched(self) -> Category:
        """A worker had the message, and was busy."""
        return Category("worker_busy", "waiting for a busy worker")

    def not_due(self) -> Category:
        """A message was not to be worked on yet."""
        return Category("not_due", "waiting until it was due (eta)")

    def lock(self, span: Span) -> Category:
        """Such as ``waiting for asyncio.Lock held by refresh (GET /orders)``, as far as it is known."""
        label = f"waiting for {named(str(span.attributes.get(CAUSAL_LOCK_KIND) or 'a lock'))}"
        task = span.attributes.get(CAUSAL_LOCK_HOLDER)
        link = next((each for each in span.links if each.attributes.get(CAUSAL_LINK) == HOLDER), None)
        holder = self._find(link.trace_id, link.span_id) if link is not None else None
        held = ""
        if task and holder is not None:
            held = f" held by {named(str(task))} ({named(holder.name)})"
        elif task or holder is not None:
            held = f" held by {named(str(task) if holder is None else holder.name)}"
        return Category("lock_wait", label, held)


def _seen_most(span: Span) -> str:
    """The line of code that most samples of its profile have, if it is half of them; empty: it has no such profile."""
    text = span.attributes.get(CAUSAL_PROFILE)
    profile = stacks(text) if isinstance(text, str) else []
    if not profile:
        return ""
    line, count = hottest(profile)[0]
    return f", seen most in {named(line)}" if count * 2 >= sum(each for _, each in profile) else ""


def _unawaited(span: Span) -> Span | None:
    """The span of a task that nobody waited for, if it is that, or is in it."""
    at: Span | None = span
    while at is not None and not at.unawaited:
        # A span says the number of its task if that is not its parent's: beyond it, it is another task.
        at = None if at.local_root or at.task is not None else at.parent
    return at


_OF_REQUESTS = {
    CAUSAL_RECEIVE: Category("receive", "waiting for the request's body"),
    CAUSAL_SEND: Category("send", "waiting until the client takes the response"),
    CAUSAL_THREADPOOL_WAIT: Category("thread_wait", "waiting for a thread"),
}
