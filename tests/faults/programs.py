"""Small programs in processes of their own, with nothing of this process's environment that could configure them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

__all__ = ["environment", "run"]


def environment(**variables: str) -> dict[str, str]:
    """PATH, ``variables``, and nothing that is here for other tests only."""
    return {"PATH": os.environ["PATH"], "PYDANTIC_DISABLE_PLUGINS": "logfire-plugin", **variables}


def run(code: str, *, seconds: float = 120.0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` to its end."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=seconds,
    )
