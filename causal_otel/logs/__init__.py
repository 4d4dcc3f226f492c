"""Logs that tell their trace: on every log record, in structlog and in Loguru, for people and as JSON.

``install()`` puts ``trace_id``, ``span_id``, ``trace_sampled`` and ``service`` on each record of the standard library.
What is here is for those who set up logging: formatters that show them, and a processor and a patcher for others.
"""

from __future__ import annotations

from causal_otel.logs.formatters import JSONFormatter, TextFormatter
from causal_otel.logs.processors import loguru_patcher, structlog_processor

__all__ = ["JSONFormatter", "TextFormatter", "loguru_patcher", "structlog_processor"]
