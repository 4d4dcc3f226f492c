"""How the programs log: a JSON object a line, with the id of the trace that it belongs to."""

from __future__ import annotations

import logging

from causal_otel.logs import JSONFormatter

__all__ = ["log_as_json"]


def log_as_json() -> None:
    """Set up logging for this process: what the programs and Celery say, and what others warn of."""
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("demo", "celery"):
        logging.getLogger(name).setLevel(logging.INFO)
