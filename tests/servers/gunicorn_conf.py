"""Gunicorn's configuration for an application that is installed in each worker."""

from __future__ import annotations

import os
from typing import Any

from tests.servers.installing import install


def post_fork(server: Any, worker: Any) -> None:
    """Gunicorn calls this in each new worker."""
    if os.environ["INSTALL"] == "post_fork":
        install()


def post_worker_init(worker: Any) -> None:
    """Say that the worker heeds signals from now on: until then it does not, and SIGTERM would be lost on it."""
    worker.log.info("worker is ready")
