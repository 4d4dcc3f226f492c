"""A terminal in which the commands of a page are run, as a reader would: one shell, so that what is exported stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.waiting import wait_until

__all__ = ["Terminal"]

_SERVERS = {
    r"causal-otel collector\b": "Ctrl-C stops it",
    r"(?:causal-otel run .*)?uvicorn\b": "Uvicorn running on",
    r"celery\b.*\bworker\b": "celery@",
    r"gunicorn\b": "Listening at",
    r"\./start\.sh": "celery@",
}
"""Commands that stay until they are ended, and what they print once they can be asked."""

_SECONDS = 120.0


class Terminal:
    """One shell. Use it in a ``with`` block, at whose end it and all that it has started are ended.

    Args:
        directory: where it works.
        variables: its environment.
    """

    def __init__(self, directory: Path, variables: Mapping[str, str]) -> None:
        self._directory = directory
        self._number = 0
        self._serving: dict[str, str] = {}
        self._shell = subprocess.Popen(
            ["bash", "--norc"], cwd=directory, env=dict(variables), stdin=subprocess.PIPE, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
        assert self._shell.stdin is not None
        with suppress(BrokenPipeError):
            self._shell.stdin.close()

    def run(self, command: str, shown: Sequence[str] = ()) -> str:
        """Run a command to its end, or until it is ready if it stays; gives what it has printed until then.

        Args:
            command: what to type.
            shown: lines of which each must be printed, where white space does not matter and ``...`` is anything. A
                command that only looks is tried again until they are: what it looks for takes its time.

        Raises:
            AssertionError: it fails, or does not print that.
        """
        server = next((pattern for pattern in _SERVERS if re.match(rf"(?:[A-Z_]+=\S+ )*{pattern}", command)), None)
        if server is not None and "--help" not in command:
            printed = self._serve(server, command)
        elif shown and command.startswith("causal-otel trace"):
            printed = self._until(command, shown)
        else:
            printed = self._once(command)
        lacking = _lacking(shown, printed)
        assert lacking == [], f"{command} does not print {lacking}, but:\n{printed}"
        return printed

    def _until(self, command: str, shown: Sequence[str]) -> str:
        """Look again and again until all of that is shown; what it has printed last."""
        printed = ""

        def there() -> bool:
            nonlocal printed
            try:
                printed = self._once(command)
            except AssertionError as error:  # it is not there yet
                printed = str(error)
                return False
            return not _lacking(shown, printed)

        wait_until(there, lambda: f"{command} shows {_lacking(shown, printed)}; it prints\n{printed}", _SECONDS)
        return printed

    def _once(self, command: str) -> str:
        self._number += 1
        printed, status = (self._directory / f"{name}.{self._number}" for name in ("printed", "status"))
        # Renamed when it is complete: an empty file is no status.
        self._say(
            f"eval {_quoted(command)} >{printed} 2>&1 </dev/null; echo $? >{status}.new; mv {status}.new {status}",
        )
        wait_until(lambda: status.exists() or self._shell.poll() is not None, seconds=_SECONDS)
        said = printed.read_text(encoding="utf-8", errors="replace")
        ended = status.read_text() if status.exists() else "the shell has ended"
        assert ended == "0\n", f"{command}\nstatus: {ended}\n{said}"
        return said

    def _serve(self, kind: str, command: str) -> str:
        """Start what stays; one of the same kind is ended before, as its ports are needed."""
        if kind in self._serving:
            self._once(f"kill {self._serving[kind]}; wait {self._serving[kind]} || true")
        self._number += 1
        printed = self._directory / f"printed.{self._number}"
        printed.touch()
        number = self._once(f"eval {_quoted(f'exec env {command}')} >{printed} 2>&1 </dev/null & echo $!")
        self._serving[kind] = pid = number.strip()

        def said() -> str:
            return printed.read_text(encoding="utf-8", errors="replace")

        wait_until(lambda: _SERVERS[kind] in said() or not Path(f"/proc/{pid}").exists(), seconds=_SECONDS)
        assert _SERVERS[kind] in said(), f"{command} does not start:\n{said()}"
        return said()

    def _say(self, line: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(line + "\n")
        self._shell.stdin.flush()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _lacking(shown: Sequence[str], printed: str) -> list[str]:
    squeezed = re.sub(r"[ \t]+", " ", printed)
    return [line for line in shown if not re.search(_pattern(line), squeezed)]


def _pattern(line: str) -> str:
    return r"[^\n]*".join(re.escape(re.sub(r"[ \t]+", " ", piece.strip())) for piece in line.split("..."))
