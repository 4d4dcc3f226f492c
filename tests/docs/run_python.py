"""Runs the blocks of one page in this process, one after the other, with names shared: by ``test_snippets.py``.

Reads JSON, ``{"page": ..., "prelude": ..., "blocks": [[line, code], ...]}``. ``await`` may stand outside of functions,
and each ``install()`` begins uninstalled. What our own log says, and every failure of ours, ends it with status 1.
"""

from __future__ import annotations

import ast
import asyncio
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import causal_otel
from causal_otel._internal import faults


class _Complaints(logging.Handler):
    """Keeps what our log says."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if "the exporter is none" not in said:  # which is the doing of the test
            self.said.append(said)


def _install_anew(install: Callable[..., Any]) -> Callable[..., Any]:
    """Calls that stand below each other are alternatives: a second one would be ignored, with a warning."""

    def installed(*args: Any, **kwargs: Any) -> Any:
        causal_otel.uninstall()
        return install(*args, **kwargs)

    return installed


async def _run(page: str, prelude: str, blocks: list[tuple[int, str]]) -> None:
    names: dict[str, Any] = {"__name__": page}
    complaints = _Complaints()
    logging.getLogger("causal_otel").addHandler(complaints)
    causal_otel.install = _install_anew(causal_otel.install)
    for line, code in [(1, prelude), *blocks]:
        # As many empty lines as are before it in the page: a traceback has its line there.
        compiled = compile("\n" * (line - 1) + code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        awaited = eval(compiled, names)
        if awaited is not None:
            await awaited
        assert complaints.said == [], f"{page}:{line}: {complaints.said}"
    for name in [name for name in names if name not in ("causal_otel", "__builtins__")]:
        del names[name]
    assert faults.counts() == {}, f"{page}: {faults.counts()}"


if __name__ == "__main__":
    asyncio.run(_run(**json.load(sys.stdin)))
