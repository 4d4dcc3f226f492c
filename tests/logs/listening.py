"""Loggers for tests, with handlers that keep what they are given."""

from __future__ import annotations

import logging

__all__ = ["Lines", "alone", "listening"]


class Lines(logging.Handler):
    """Keeps records as they are, and as lines if it has a formatter."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.records.append(record)
        if self.formatter is not None:
            self.lines.append(self.format(record))


def listening(formatter: logging.Formatter | None = None) -> tuple[logging.Logger, Lines]:
    """A logger and its handler, with nobody else to read the records first."""
    logger, lines = alone(), Lines()
    lines.setFormatter(formatter)
    logger.addHandler(lines)
    return logger, lines


def alone() -> logging.Logger:
    """A logger outside the tree of loggers: to those in it, pytest adds a handler of its own."""
    return logging.Logger("tests.logs", logging.DEBUG)  # noqa: LOG001
