"""What the commands that read stored traces have in common: where they are, which time, and how a command fails."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from causal_otel._internal.extras import missing
from causal_otel.collector.config import CollectorSettings
from causal_otel.collector.tokens import TokensError, read_tokens
from causal_otel.collector.units import moment, parse_duration
from causal_otel.settings import SettingError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from causal_otel.collector.store.reader import Reader

__all__ = [
    "CommandError",
    "UsageError",
    "add_data_dir",
    "add_times",
    "carry_out",
    "data_dir",
    "read",
    "stored",
    "tell_incomplete",
    "times",
    "token",
    "utc",
]

_Value = TypeVar("_Value")

_FAILED, _UNUSABLE = 1, 2
_FOREVER = 2**63 - 1

# What the extra brings of which these commands need some, by the names it is imported by.
_EXTRA = ("google.protobuf", "opentelemetry.proto")


class CommandError(Exception):
    """The command cannot do its work. The message tells the user why, and what to do."""


class UsageError(CommandError):
    """What it was asked for makes no sense."""


def carry_out(name: str, action: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Run ``action``; what it raises becomes a sentence on stderr. Returns the exit status."""

    def complain(message: object) -> None:
        print(f"causal-otel {name}: {message}", file=sys.stderr)

    if problem := missing(_EXTRA, "collector"):
        complain(problem)
        return _UNUSABLE
    try:
        return action(arguments)
    except (UsageError, SettingError) as error:
        complain(error)
        return _UNUSABLE
    except BrokenPipeError:
        raise
    except (CommandError, OSError) as error:
        complain(error)
        return _FAILED


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the option that says where the traces are."""
    shown = CollectorSettings.__dataclass_fields__["data_dir"].metadata["shown"]
    parser.add_argument("--data-dir", metavar="DIR", help=f"where the traces are kept; default: {shown}")


def data_dir(arguments: argparse.Namespace) -> Path:
    """Where the traces are: by the option, the collector's variable, or the collector's default.

    Raises:
        SettingError: A variable of the collector's is not allowed.
    """
    return Path(CollectorSettings.load({"data_dir": arguments.data_dir}).data_dir)


def token(settings: CollectorSettings) -> str:
    """What to show a collector, by its own settings; empty: nothing.

    Raises:
        SettingError: There is no good token in the file.
        OSError: It cannot be read.
    """
    if settings.token or not settings.token_file:
        return settings.token
    try:
        return read_tokens(Path(settings.token_file))[-1]  # new ones are added at the end
    except TokensError as error:
        raise SettingError(f"{settings.token_file}: {error}") from None


@contextmanager
def stored(arguments: argparse.Namespace) -> Iterator[Reader]:
    """The traces that are kept, whether a collector runs or not.

    Raises:
        CommandError: There is no such directory.
    """
    from causal_otel.collector.store.reader import Reader

    directory = data_dir(arguments)
    if not directory.is_dir():
        raise CommandError(
            f"there is no directory {directory}: start `causal-otel collector`, or give the traces' with --data-dir"
        )
    with Reader(directory) as reader:
        yield reader


def add_times(parser: argparse.ArgumentParser, *, lookback: str | None) -> None:
    """Give ``parser`` the options that say of what time; ``lookback`` is the default one, None: all time."""
    default = f"default: {lookback}" if lookback else "default: all time"
    parser.add_argument(
        "--lookback", "--last", metavar="TIME", help=f"how far back from now, such as 15m, 6h or 2d; {default}"
    )
    parser.add_argument("--start", metavar="TIME", help="from when, such as 2026-11-22T14:30, which is UTC")
    parser.add_argument("--end", metavar="TIME", help="until when; default: now")


def times(arguments: argparse.Namespace, *, lookback: str | None) -> tuple[int, int]:
    """What the options of :func:`add_times` say, as Unix times in nanoseconds.

    Raises:
        UsageError: They cannot be understood.
    """
    if arguments.lookback is not None and arguments.start is not None:
        raise UsageError("give either --lookback or --start, not both")
    end = read("--end", moment, arguments.end)
    start = read("--start", moment, arguments.start)
    back = read("--lookback", parse_duration, arguments.lookback or (lookback if start is None else None))
    until = (time.time_ns() if back is not None else _FOREVER) if end is None else end
    if start is None:
        start = 0 if back is None else max(0, until - back)
    if until < start:
        raise UsageError("--end is before --start")
    return start, until


def read(option: str, reader: Callable[[str], _Value], text: str | None) -> _Value | None:
    """What ``reader`` makes of an option's text, None if it was not given.

    Raises:
        UsageError: The reader raised ValueError.
    """
    try:
        return None if text is None else reader(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def tell_incomplete(what: str) -> None:
    """Say on stderr that there was no time for all of what was printed: ``what`` is missing, and how to see it."""
    print(f"{what}: narrow the time to see all.", file=sys.stderr)


def utc(nanoseconds: int) -> str:
    """A Unix time in nanoseconds to the millisecond, in UTC."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))}.{rest // 10**6:03}"
