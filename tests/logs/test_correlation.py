"""Records of the standard library tell their trace, whoever makes, copies, formats or pickles them."""

from __future__ import annotations

import copy
import gc
import logging
import logging.handlers
import pickle
import queue
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import causal_otel
from causal_otel._internal import faults
from causal_otel.engine.provider import TracerProvider
from causal_otel.logs.fields import Fields
from tests.logs.listening import Lines, alone, listening

_FORMAT = "%(trace_id)s/%(span_id)s/%(trace_sampled)s/%(service)s"
_ORIGINAL = logging.Logger.makeRecord


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    before = faults.counts()
    causal_otel.install(patches=[], tracer_provider=TracerProvider(resource=Resource({"service.name": "shop"})))
    yield
    causal_otel.uninstall()
    assert faults.counts() == before
    assert logging.Logger.makeRecord is _ORIGINAL


@pytest.fixture
def heard() -> tuple[logging.Logger, Lines]:
    return listening()


def _current() -> Fields:
    """The fields of the current span, as the API tells them."""
    found = trace.get_current_span().get_span_context()
    return Fields(f"{found.trace_id:032x}", f"{found.span_id:016x}", found.trace_flags.sampled, "shop")


def _fields(record: Any) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in Fields._fields)


class TestFields:
    def test_inside_and_outside_a_span(self, heard: tuple[logging.Logger, Lines]) -> None:
        """A record has the ids of the span that is current when it is made; outside any, empty ones."""
        logger, lines = heard
        with causal_otel.span("outer"):
            outer = _current()
            logger.info("one")
            with causal_otel.span("inner"):
                inner = _current()
                logger.info("two")
        logger.info("three")
        assert inner.trace_id == outer.trace_id
        assert inner.span_id != outer.span_id
        assert outer.trace_sampled is True
        assert [_fields(record) for record in lines.records] == [outer, inner, ("", "", False, "shop")]

    def test_in_a_trace_that_is_not_sampled(self, heard: tuple[logging.Logger, Lines]) -> None:
        """The ids are there, and that nothing is exported under them."""
        causal_otel.uninstall()
        causal_otel.install(patches=[], tracer_provider=TracerProvider(ALWAYS_OFF))
        logger, lines = heard
        with causal_otel.span("outer"):
            logger.info("one")
            wanted = _current()
        assert wanted.trace_sampled is False
        assert _fields(lines.records[0])[:3] == wanted[:3]

    def test_all_styles_of_formats_know_them(self) -> None:
        """They can be named in each of the standard library's three styles, and found in ``vars()``."""
        for style, text in {
            "%": _FORMAT,
            "{": "{trace_id}/{span_id}/{trace_sampled}/{service}",
            "$": "$trace_id/$span_id/${trace_sampled}/$service",
        }.items():
            logger, lines = listening(logging.Formatter(text, style=style))  # type: ignore[arg-type]
            with causal_otel.span("outer"):
                logger.info("one")
                wanted = _current()
            assert lines.lines == ["/".join(map(str, wanted))]
            assert {name: vars(lines.records[0])[name] for name in Fields._fields} == wanted._asdict()

    def test_are_read_after_the_span_has_ended(self, heard: tuple[logging.Logger, Lines]) -> None:
        """A record that is first formatted later, elsewhere, tells the span it was made in."""
        logger, lines = heard
        with causal_otel.span("outer"):
            wanted = _current()
            logger.info("one")
        with causal_otel.span("another"):
            assert _fields(lines.records[0]) == wanted

    def test_a_leaf_is_nobodys_place(self, heard: tuple[logging.Logger, Lines]) -> None:
        """With a span of another provider's, made current by the API, its ids are told."""
        logger, lines = heard
        span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, True, trace.TraceFlags(1)))
        with trace.use_span(span):
            logger.info("one")
        assert _fields(lines.records[0]) == (f"{0xABC:032x}", f"{0xDEF:016x}", True, "shop")


class TestRecords:
    def test_extra_wins(self, heard: tuple[logging.Logger, Lines]) -> None:
        """``extra`` may use our names, as it could before: that is no error, and its value stays."""
        logger, lines = heard
        with causal_otel.span("outer"):
            logger.info("one", extra={"service": "billing", "trace_id": "mine"})
            span_id = _current().span_id
        assert _fields(lines.records[0]) == ("mine", span_id, True, "billing")

    def test_what_a_filter_sets_wins(self, heard: tuple[logging.Logger, Lines]) -> None:
        """So does what a filter of the user's has set, whether or not it has read the record before."""
        logger, lines = heard

        def mark(record: Any) -> bool:
            record.trace_id = "mine"
            assert record.service == "shop"
            record.service = "billing"
            return True

        lines.addFilter(mark)
        logger.info("one")
        assert _fields(lines.records[0]) == ("mine", "", False, "billing")

    def test_are_ordinary_ones_once_read(self, heard: tuple[logging.Logger, Lines]) -> None:
        """A record that somebody has read is a plain ``LogRecord``, with four attributes more and none besides."""
        logger, lines = heard
        logger.info("one")
        (record,) = lines.records
        assert isinstance(record, logging.LogRecord)
        plain = vars(logging.makeLogRecord({}))
        assert set(vars(record)) == {*plain, *Fields._fields}
        assert type(record) is logging.LogRecord
        with pytest.raises(AttributeError, match="nonsense"):
            record.nonsense  # type: ignore[attr-defined]  # noqa: B018

    def test_missing_attributes_are_missing(self, heard: tuple[logging.Logger, Lines]) -> None:
        """Asking an unread record for what it does not have is an AttributeError as ever."""
        logger, lines = heard
        logger.info("one")
        assert not hasattr(lines.records[0], "nonsense")

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda record: pickle.loads(pickle.dumps(record))])
    def test_are_copied_and_pickled(self, copied: Any, heard: tuple[logging.Logger, Lines]) -> None:
        """Copies have the fields, are plain records, and need nothing of ours where they are read."""
        logger, lines = heard
        with causal_otel.span("outer"):
            logger.info("one %s", 1)
            wanted = _current()
        found = copied(lines.records[0])
        assert type(found) is logging.LogRecord
        assert (_fields(found), found.getMessage()) == (wanted, "one 1")
        assert b"causal" not in pickle.dumps(lines.records[0])

    def test_their_dict_can_be_replaced(self, heard: tuple[logging.Logger, Lines]) -> None:
        """``record.__dict__ = ...`` works on an unread record, and gives exactly that."""
        logger, lines = heard
        logger.info("one")
        lines.records[0].__dict__ = {"msg": "another", "args": ()}
        assert vars(lines.records[0]) == {"msg": "another", "args": ()}

    def test_through_a_queue(self) -> None:
        """Behind a QueueHandler, the listener's thread formats the ids of the thread that logged."""
        waiting: queue.Queue[logging.LogRecord] = queue.Queue()
        sink = Lines()
        sink.setFormatter(logging.Formatter(_FORMAT))
        listener = logging.handlers.QueueListener(waiting, sink)
        logger = alone()
        handler = logging.handlers.QueueHandler(waiting)
        logger.addHandler(handler)
        listener.start()
        try:
            with causal_otel.span("outer"):
                logger.info("one")
                wanted = _current()
        finally:
            listener.stop()
        assert sink.lines == ["/".join(map(str, wanted))]

    def test_hold_no_span_once_read(self, heard: tuple[logging.Logger, Lines]) -> None:
        """A record that somebody keeps does not keep the span alive after it was read."""
        logger, lines = heard
        with causal_otel.span("outer") as span:
            logger.info("one")
            gone = weakref.ref(span) if hasattr(type(span), "__weakref__") else None
        assert "_causal_otel_context" not in vars(lines.records[0])
        del span
        gc.collect()
        assert gone is None or gone() is None


class TestFactories:
    @pytest.fixture(autouse=True)
    def _restored(self) -> Iterator[None]:
        before = logging.getLogRecordFactory()
        yield
        logging.setLogRecordFactory(before)

    @pytest.mark.parametrize("first", [True, False])
    def test_of_others(self, first: bool, heard: tuple[logging.Logger, Lines]) -> None:
        """A factory of the user's makes the record, of a class of its own, set before ``install()`` or after it."""

        class Own(logging.LogRecord):
            __slots__ = ()

            def getMessage(self) -> str:
                return "own " + super().getMessage()

        provider = causal_otel.install().tracer_provider
        if first:
            causal_otel.uninstall()
        logging.setLogRecordFactory(Own)
        causal_otel.install(patches=[], tracer_provider=provider) if first else None
        logger, lines = heard
        with causal_otel.span("outer"):
            logger.info("one", extra={"a": 1})
            wanted = _current()
        (record,) = lines.records
        assert (_fields(record), record.getMessage()) == (wanted, "own one")
        assert (type(record), type(copy.copy(record)), vars(record)["a"]) == (Own, Own, 1)

    def test_that_set_our_names_win(self, heard: tuple[logging.Logger, Lines]) -> None:
        """A factory that puts ids of its own on the record keeps them."""
        before = logging.getLogRecordFactory()

        def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = before(*args, **kwargs)
            record.trace_id = "theirs"
            return record

        logging.setLogRecordFactory(factory)
        logger, lines = heard
        logger.info("one")
        assert _fields(lines.records[0]) == ("theirs", "", False, "shop")

    def test_that_make_no_records_are_left_alone(self) -> None:
        """What is no record but is used as one stays as it is."""

        class Odd:
            __slots__ = ("msg",)

            def __init__(self, *args: Any) -> None:
                self.msg = args[4]

        logging.setLogRecordFactory(Odd)  # type: ignore[arg-type]
        made: Any = alone().makeRecord("x", 20, "f", 1, "one", (), None)
        logging.setLogRecordFactory(logging.LogRecord)
        assert (type(made), made.msg) == (Odd, "one")


class TestUndoing:
    def test_is_exact(self, heard: tuple[logging.Logger, Lines]) -> None:
        """After ``uninstall()`` the very function is back, and records have nothing of ours."""
        assert logging.Logger.makeRecord is not _ORIGINAL
        causal_otel.uninstall()
        assert vars(logging.Logger)["makeRecord"] is _ORIGINAL
        logger, lines = heard
        logger.info("one")
        assert set(vars(lines.records[0])) == set(vars(logging.makeLogRecord({})))

    def test_under_somebody_elses_wrapper(self, heard: tuple[logging.Logger, Lines]) -> None:
        """Who has wrapped around ours since stays in place; ours does nothing any more."""
        ours = logging.Logger.makeRecord

        def theirs(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = ours(*args, **kwargs)
            record.theirs = True
            return record

        logger, lines = heard
        logging.Logger.makeRecord = theirs  # type: ignore[method-assign]
        try:
            logger.info("one")
            causal_otel.uninstall()
            assert logging.Logger.makeRecord is theirs
            logger.info("two")
        finally:
            logging.Logger.makeRecord = _ORIGINAL  # type: ignore[method-assign]
        assert [hasattr(record, "theirs") for record in lines.records] == [True, True]
        assert [hasattr(record, "service") for record in lines.records] == [True, False]

    def test_off(self) -> None:
        """With ``logs="off"`` nothing is replaced."""
        causal_otel.uninstall()
        causal_otel.install(patches=[], tracer_provider=TracerProvider(), logs="off")
        assert logging.Logger.makeRecord is _ORIGINAL
