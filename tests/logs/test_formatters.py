"""The formats for people and for programs."""

from __future__ import annotations

import json
import logging
import logging.config
from datetime import datetime
from typing import Any

import pytest

from causal_otel.logs import JSONFormatter, TextFormatter

_IDS = {"trace_id": "0" * 31 + "a", "span_id": "0" * 15 + "b", "trace_sampled": True, "service": "shop"}


def _record(**values: Any) -> logging.LogRecord:
    known = {"name": "shop.cart", "levelno": 30, "levelname": "WARNING", "msg": "%d left", "args": (3,)}
    return logging.makeLogRecord({**known, "created": 1_700_000_000.25, "msecs": 250.0, **values})


def _json(**values: Any) -> dict[str, Any]:
    line = JSONFormatter().format(_record(**values))
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def _failure() -> Any:
    try:
        raise ValueError("went wrong")
    except ValueError as error:
        return type(error), error, error.__traceback__


class TestText:
    def test_the_ids_stand_behind_the_message(self) -> None:
        """In a trace the ids follow the message, before an exception's lines; else the line is as usual."""
        inside = TextFormatter().format(_record(**_IDS, exc_info=_failure()))
        outside = TextFormatter().format(_record(**{**_IDS, "trace_id": "", "span_id": ""}))
        first, *rest = inside.splitlines()
        assert first.endswith(f"WARNING  shop.cart: 3 left [trace_id={_IDS['trace_id']} span_id={_IDS['span_id']}]")
        assert rest[-1] == "ValueError: went wrong"
        assert outside.endswith("WARNING  shop.cart: 3 left")

    @pytest.mark.parametrize(("style", "text"), [("%", "%(trace_id)s|%(message)s"), ("{", "{trace_id}|{message}")])
    def test_formats_of_ones_own_work_without_a_trace(self, style: Any, text: str) -> None:
        """A field that such a format names is empty on a record that has none, and nothing is added to the line."""
        formatter = TextFormatter(text, style=style)
        assert formatter.format(_record()) == "|3 left"
        assert formatter.format(_record(**_IDS)) == f"{_IDS['trace_id']}|3 left"

    def test_is_configured_by_dict_config(self) -> None:
        """``logging.config.dictConfig`` makes both by their names."""
        configuration = {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "people": {"()": "causal_otel.logs.TextFormatter", "fmt": "%(span_id)s %(message)s"},
                "programs": {"()": "causal_otel.logs.JSONFormatter"},
            },
            "handlers": {
                name: {"class": "tests.logs.listening.Lines", "formatter": name} for name in ("people", "programs")
            },
            "loggers": {"tests.logs.configured": {"handlers": ["people", "programs"], "propagate": False}},
        }
        logging.config.dictConfig(configuration)
        logger = logging.getLogger("tests.logs.configured")
        logger.warning("one", extra=_IDS)
        people, programs = logger.handlers
        logger.handlers.clear()
        assert people.lines == [f"{_IDS['span_id']} one"]  # type: ignore[attr-defined]
        assert json.loads(programs.lines[0])["message"] == "one"  # type: ignore[attr-defined]


class TestJSON:
    def test_in_a_trace(self) -> None:
        """The object has the message, when, who and where, and the ids."""
        found = _json(**_IDS)
        assert datetime.fromisoformat(found.pop("timestamp")).timestamp() == 1_700_000_000.25
        assert found == {"level": "WARNING", "logger": "shop.cart", "message": "3 left", **_IDS}

    def test_outside_any(self) -> None:
        """There are no ids then, nor a service that nobody has named."""
        found = _json(trace_id="", span_id="", trace_sampled=False, service="")
        assert set(found) == {"timestamp", "level", "logger", "message"}

    def test_has_what_extra_gives(self) -> None:
        """What ``extra`` has given is in it; what JSON has no form for is text."""
        found = _json(order=7, items=["a", None], when=datetime(2026, 1, 2))
        assert (found["order"], found["items"], found["when"]) == (7, ["a", None], "2026-01-02 00:00:00")

    def test_has_exceptions_and_stacks(self) -> None:
        """They are text, also of a record whose exception a queue's handler has made text of."""
        found = _json(exc_info=_failure(), stack_info="Stack (most recent call last): here")
        assert found["exception"].endswith("ValueError: went wrong")
        assert found["stack"].endswith("here")
        assert _json(exc_text="ValueError: elsewhere")["exception"] == "ValueError: elsewhere"

    def test_never_raises_for_what_extra_gives(self) -> None:
        """A value that contains itself, or whose ``str()`` raises, does not lose the line."""

        class Bad:
            def __str__(self) -> str:
                raise ValueError("no text")

        circle: list[Any] = []
        circle.append(circle)
        assert _json(bad=Bad(), circle=circle, keyed={(1, 2): 3})["message"] == "3 left"
