"""Pipelines: the statements between two synchronisations are one span, a batch.

In a pipeline ``execute()`` only queues a statement; what comes of it is known when the pipeline is synchronised, which
leaving it does, or when its rows are fetched. Methods of both kinds, sync and async, run the same generators, so those
are what is wrapped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from causal_otel._internal import faults
from causal_otel.instrument.calls import Describe, Wrapper
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.waited_span import WaitedSpan
from causal_otel.names import (
    CAUSAL_QUERY_TRUNCATED,
    CAUSAL_SERVER,
    DB_OPERATION_BATCH_SIZE,
    DB_OPERATION_NAME,
    DB_QUERY_SUMMARY,
    DB_QUERY_TEXT,
)
from causal_otel.patches._postgresql import ERRORS, connection_attributes
from causal_otel.patches.psycopg.operations import as_seen, pipeline_of, place
from causal_otel.patches.psycopg.statements import batch, statement
from causal_otel.statements import sql

if TYPE_CHECKING:
    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.options import DatabaseOptions
    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.psycopg.operations import Place

__all__ = ["TARGETS"]


class _Batch(WaitedSpan):
    """The statements that have been queued since the last synchronisation.

    Args:
        running: the operation, which begins as that of the first statement.
        where: the connection's address and database.
    """

    __slots__ = ("_length", "_size", "_summaries", "_texts", "_where")

    def __init__(self, running: Running, where: Place) -> None:
        super().__init__(running)
        self._where = where
        self._size = self._length = 0
        self._summaries: dict[str, None] = {}  # in their order
        self._texts: dict[str, None] = {}

    def add(self, operation: Operation) -> None:
        """A statement is queued, or one for each of several parameters."""
        self._size += (operation.own or {}).get(DB_OPERATION_BATCH_SIZE, 1)
        self._summaries[operation.attributes.get(DB_QUERY_SUMMARY, "")] = None
        text = operation.attributes.get(DB_QUERY_TEXT)
        if text is not None and text not in self._texts and self._length <= sql.MAX_TEXT:
            self._texts[text] = None
            self._length += len(text) + 2

    def _ending(self, running: Running, result: Any, error: BaseException | None) -> Any:
        if self._size > 1:
            summary = next(iter(self._summaries)) if len(self._summaries) == 1 else ""
            running.operation = operation = _operation(self._where, summary, tuple(self._texts))
            running.span.update_name(operation.name)
            running.span.set_attributes({**operation.attributes, DB_OPERATION_BATCH_SIZE: self._size})
        return result


@functools.lru_cache(256)
def _operation(where: Place, summary: str, texts: tuple[str, ...]) -> Operation:
    """A batch of statements, which have that summary if they have one in common."""
    name = f"BATCH {summary}".rstrip()
    attributes = {**connection_attributes(*where), DB_QUERY_SUMMARY: name, DB_OPERATION_NAME: "BATCH"}
    if texts:
        text = "; ".join(texts)
        attributes[DB_QUERY_TEXT] = text[: sql.MAX_TEXT]
        if len(text) > sql.MAX_TEXT:
            attributes[CAUSAL_QUERY_TRUNCATED] = True
    return Operation(name, attributes)


_batches: WeakKeyDictionary[Any, _Batch] = WeakKeyDictionary()
"""By pipeline."""

Steps = Generator[Any, Any, Any]
"""What psycopg runs step by step, sync or async."""


def _timed(found: _Batch, steps: Steps) -> Steps:
    """The same steps, whose time is the batch's, and whose failure."""
    before = found.wait(CAUSAL_SERVER)
    try:
        return (yield from steps)
    except Exception as error:
        found.end(error=as_seen(error))
        raise
    finally:
        found.wait(before)


def _queue(make: Callable[[DatabaseOptions], Describe]) -> Wrapper:
    """A wrapper for what queues a statement, if there is a pipeline."""

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        describe = make(tracing.options)

        def queued(pipeline: Any, cursor: Any, args: Any, kwargs: Any) -> _Batch | None:
            operation = describe(tracing, cursor, args, kwargs)
            if operation is None or operation.plumbing:
                return None
            if tracing.excluded is not None and operation.fits(tracing.excluded):
                return None
            found = _batches.get(pipeline)
            if found is None or not found.is_open():
                running = tracing.leaf(operation, ERRORS, (cursor, args, kwargs))
                if running is None:
                    return None
                found = _batches[pipeline] = _Batch(running, place(cursor._conn))
            found.add(operation)
            return found

        @functools.wraps(original)
        def gen(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            steps = original(self, *args, **kwargs)
            found = None
            pipeline = pipeline_of(getattr(self, "_conn", None))
            if pipeline is not None and tracing.wanted():
                try:
                    found = queued(pipeline, self, args, kwargs)
                except Exception:
                    faults.report("psycopg: a pipeline")
            return _timed(found, steps) if found is not None and isinstance(steps, Generator) else steps

        return gen

    return wrap


def _answer(*, ends: bool = False) -> Wrapper:
    """A wrapper for what waits for results of a pipeline, of all statements (``ends``) or some."""

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        def ending(found: _Batch, steps: Steps) -> Steps:
            result = yield from _timed(found, steps)
            found.end()
            return result

        @functools.wraps(original)
        def gen(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            steps = original(self, *args, **kwargs)
            found = _batches.get(self) if _batches else None
            if found is None or not found.is_open() or not isinstance(steps, Generator):
                return steps
            return ending(found, steps) if ends else _timed(found, steps)

        return gen

    return wrap


TARGETS = (
    *(
        wrap
        for cursor in ("Cursor", "AsyncCursor")
        for wrap in (
            Wrap("psycopg", f"{cursor}._execute_gen", _queue(statement), optional=True),
            Wrap("psycopg", f"{cursor}._executemany_gen_pipeline", _queue(batch), optional=True),
        )
    ),
    *(
        wrap
        for pipeline in ("Pipeline", "AsyncPipeline")
        for wrap in (
            Wrap("psycopg", f"{pipeline}._fetch_gen", _answer(), optional=True),
            Wrap("psycopg", f"{pipeline}._sync_gen", _answer(ends=True), optional=True),
            Wrap("psycopg", f"{pipeline}._exit_gen", _answer(ends=True), optional=True),
        )
    ),
)
"""The targets. They are private: if one is missing, the others are placed."""
