"""A trace in which a request waits for all sorts of things, and that of another, which has held up its event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.collector.web.sample_traces import START, Builder

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

__all__ = ["CAUSES", "HOLDER", "causes", "holder"]

CAUSES, HOLDER = "ca" * 16, "b0" * 16


def causes(start: int = START, trace_id: str = CAUSES) -> TracesData:
    """``POST /report``: two tasks at once, one of them hit by a stall; a gap; a task that nobody awaits; a queue.

    ====  =============================================================================================
    1     the request, 0 to 800 ms; from 560 to 760 ms nothing is traced, and its thread did not compute
    2     a query in task 2, which waits for a connection for 100 ms, and for a stall of another request
    3     a query in task 2 after that
    4, 5  a call in task 3, and the stall of 60 ms that it has caused itself
    6     in task 4, after the answer; nobody awaits it
    7, 8  a task of Celery is sent, and lies in its queue for 400 ms
    ====  =============================================================================================
    """
    b = Builder(trace_id, start)
    db = {"db__system__name": "postgresql", "db__namespace": "shop", "server__address": "db.internal"}
    b.add("reports", "POST /report", None, 0, 800, "server", http__route="/report", causal__cpu=0.03,
          causal__loop__blocked=0.21)  # fmt: skip
    b.add("reports", "SELECT orders", 1, 20, 430, "client", **db, db__operation__name="SELECT", causal__task=2,
          causal__task__name="load orders", causal__pool__wait=0.1, causal__pool__size=4, causal__pool__waiting=3,
          causal__connect=0.01, causal__server=0.05, causal__fetch=0.02, causal__loop__blocked=0.21)  # fmt: skip
    b.add("reports", "SELECT customers", 1, 455, 95, "client", **db, db__operation__name="SELECT", causal__task=2,
          causal__task__waiter=1, causal__server=0.09)  # fmt: skip
    b.add("reports", "load prices", 1, 25, 300, causal__task=3, causal__task__name="load prices",
          causal__task__waiter=1, causal__loop__blocked=0.135)  # fmt: skip
    b.add("reports", "loop blocked", 4, 40, 60, causal__block__frame="prices.py:12 parse()", causal__block__cpu=0.055,
          causal__block__gc=0.01, causal__block__wait=0.005, code__stacktrace="prices.py:12 parse()")  # fmt: skip
    b.add("reports", "send the letter", 1, 790, 250, causal__task=4, causal__task__name="letter",
          causal__task__unawaited=True)  # fmt: skip
    b.add(
        "reports", "archive", 1, 762, 6, "producer", messaging__system="celery", messaging__destination__name="archive"
    )
    b.add("archive", "process archive", 7, 1170, 160, "consumer", messaging__system="celery",
          messaging__destination__name="archive", causal__queue__wait=0.4)  # fmt: skip
    return b.message


def holder(start: int = START) -> TracesData:
    """The other request of the same process, which blocks the loop from 250 to 400 ms."""
    b = Builder(HOLDER, start)
    b.add("reports", "GET /slow", None, 200, 220, "server", http__route="/slow")
    b.add("reports", "loop blocked", 1, 250, 150, causal__block__frame="slow.py:7 render()", causal__block__wait=0.15)
    return b.message
