"""Which frame of a stack trace is the application's own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from causal_otel.collector.own_frames import own_frame

HERE = "collector/test_own_frames.py"


def raised(call: Callable[[], object]) -> str:
    """The stack trace of what ``call`` raises, as spans record it."""
    try:
        call()
    except BaseException as error:
        return "".join(traceback.format_exception(error))
    raise AssertionError("it has raised nothing")


def printed(*frames: tuple[str, str], said: str = "ValueError: no") -> str:
    """A traceback with these paths and functions, the deepest last."""
    lines = [
        f'  File "{path}", line {10 + number}, in {name}\n    call()' for number, (path, name) in enumerate(frames)
    ]
    return "\n".join(["Traceback (most recent call last):", *lines, said, ""])


def load() -> None:
    """Fails in the standard library."""
    json.loads("{")


def cause() -> None:
    """Fails because of something else."""
    try:
        load()
    except ValueError as error:
        raise KeyError("order") from error


def handled() -> None:
    """Fails while it handles something else."""
    try:
        load()
    except ValueError:
        raise KeyError("order")  # noqa: B904 - the context is what is tested


def comprehension() -> None:
    """Fails in a comprehension in a function of a function."""

    def each() -> list[int]:
        return [1 // number for number in (1, 0)]

    each()


@pytest.mark.parametrize(
    ("call", "expected"),
    [(load, "load()"), (cause, "cause()"), (handled, "handled()"), (comprehension, "each()")],
)
def test_it_is_the_deepest_own_frame_of_what_was_raised_in_the_end(call: Callable[[], object], expected: str) -> None:
    """Frames of the standard library below, causes and contexts before, and comprehensions do not count."""
    assert own_frame(raised(call)) == f"{HERE} {expected}"


def test_what_is_raised_in_another_thread_is_found_where_it_was() -> None:
    """Its frames are below those of who waited for it."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert own_frame(raised(lambda: pool.submit(load).result())) == f"{HERE} load()"


async def _fail(after: int) -> None:
    for _ in range(after):
        await asyncio.sleep(0)
    raise ValueError(f"after {after}")


async def _group() -> None:
    async with asyncio.TaskGroup() as group:
        for each in (3, 1, 2):
            group.create_task(_fail(each))


async def _nested() -> None:
    try:
        await _group()
    except ExceptionGroup as error:
        raise RuntimeError("all have failed") from error


@pytest.mark.parametrize(("call", "expected"), [(_group, "_group()"), (_nested, "_nested()")])
def test_of_a_group_it_is_the_frame_of_the_group(call: Callable[[], Coroutine[Any, Any, None]], expected: str) -> None:
    """Which of several tasks fails first is chance, and so is the order of a group's exceptions."""
    assert own_frame(raised(lambda: asyncio.run(call()))) == f"{HERE} {expected}"


def test_of_a_group_that_a_library_raised_it_is_the_first_exceptions() -> None:
    """Where the group has no own frame, those of its parts have the answer, in their order."""
    inner = ["first()", "second()"]
    parts = "".join(
        f"    +---------------- {number} ----------------\n"
        f"    | Traceback (most recent call last):\n"
        f'    |   File "/app/shop/orders.py", line 3, in {each[:-2]}\n'
        f"    |     raise ValueError\n    | ValueError: no\n"
        for number, each in enumerate(inner, 1)
    )
    text = (
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "/venv/lib/python3.11/site-packages/anyio/_backends/_asyncio.py", line 7, in __aexit__\n'
        "  |     raise BaseExceptionGroup(\n"
        "  | ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions)\n"
        f"{parts}    +------------------------------------\n"
    )
    assert own_frame(text) == "shop/orders.py first()"


INSTALLED = [
    "/app/.venv/lib/python3.11/site-packages/asyncpg/connection.py",
    "/srv/env-of-mine/lib64/python3.13/site-packages/starlette/routing.py",
    "/usr/lib/python3/dist-packages/yaml/constructor.py",
    "/usr/lib/python3.11/asyncio/base_events.py",
    "/root/.pyenv/versions/pypy3.10/lib/pypy3.10/json/decoder.py",
    "/home/me/.local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu/lib/python3.12/json/decoder.py",
    "/Library/Frameworks/Python.framework/Versions/3.11/lib/python3.11/json/decoder.py",
    "/usr/lib/python311.zip/json/decoder.py",
    "/root/.pex/installed_wheels/ab/httpx-0.28.whl/httpx/_client.py",
    "/app/eggs/thing-1.0-py3.11.egg/thing/core.py",
    "C:\\app\\.venv\\Lib\\site-packages\\asyncpg\\connection.py",
    "C:\\Python311\\Lib\\asyncio\\base_events.py",
    "C:\\Users\\me\\AppData\\Local\\Programs\\Python\\Python312\\Lib\\json\\decoder.py",
    "C:\\Users\\me\\miniconda3\\envs\\shop\\Lib\\json\\decoder.py",
    "asyncpg/protocol/protocol.pyx",
    "uvloop/loop.pyx",
    "<frozen importlib._bootstrap>",
    "<string>",
    "/src/checkout/causal_otel/instrument/operation.py",
    "/src/checkout/causal_otel/api.py",
    "/src/checkout/causal_otel/patches/asyncpg/connections.py",
]


@pytest.mark.parametrize("path", INSTALLED)
def test_frames_that_are_not_the_applications_are_passed_over(path: str) -> None:
    """Installed packages, the standard library, Cython's, ours as editable, and code without a file."""
    assert own_frame(printed(("/app/shop/orders.py", "load"), (path, "fetch"))) == "shop/orders.py load()"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/app/shop/orders.py", "shop/orders.py"),
        ("/main.py", "/main.py"),
        ("main.py", "main.py"),
        ("C:\\work\\shop\\orders.py", "shop/orders.py"),
        ("\\\\host\\share\\shop\\orders.py", "shop/orders.py"),
        ("/home/me/python-lib/shop/orders.py", "shop/orders.py"),
        ("/srv/editable/our_library/client.py", "our_library/client.py"),
        ("/srv/my_causal_otel/engine.py", "my_causal_otel/engine.py"),
        ("/srv/causal_otel_demo/app.py", "causal_otel_demo/app.py"),
        ("/srv/causal_otel/app.py", "causal_otel/app.py"),
        ("/app/lib/python/shop/orders.py", "shop/orders.py"),
    ],
)
def test_the_applications_frames_are_named_by_folder_and_file(path: str, expected: str) -> None:
    """Whatever separates the folders, and though their names look like an installation's."""
    installed = "/app/.venv/lib/python3.11/site-packages/asyncpg/connection.py"
    assert own_frame(printed((path, "load"), (installed, "fetch"))) == f"{expected} load()"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Orders.load", "Orders.load()"),
        ("create.<locals>.load", "load()"),
        ("<lambda>", "<lambda>"),
        ("<module>", "<module>"),
        ("<genexpr>", "<genexpr>"),
    ],
)
def test_functions_are_named_without_where_they_were_made(name: str, expected: str) -> None:
    """A qualified name's ``<locals>`` are left out; what is no function has no parentheses."""
    assert own_frame(printed(("/app/shop/orders.py", name))) == f"shop/orders.py {expected}"


def test_without_an_own_frame_it_is_the_deepest() -> None:
    """Such as of a driver's span, whose exception has passed the driver only."""
    paths = [path for path in INSTALLED if path.startswith(("/app/.venv", "asyncpg"))]
    assert own_frame(printed(*((path, "fetch") for path in paths))) == "protocol/protocol.pyx fetch()"


def test_what_an_exception_says_is_no_frame() -> None:
    """A message may quote a traceback, as those of subprocesses do, or one that somebody made up."""
    quoted = printed(("/tmp/child.py", "child"))
    said = f'ValueError: the child has failed:\n{quoted}\n  File "/evil.py", line 1, in evil\nsome more'
    assert own_frame(printed(("/app/shop/orders.py", "load"), said=said)) == "shop/orders.py load()"


def test_a_cut_stack_trace_still_has_frames() -> None:
    """One longer than is looked at has lost its first line, one cut by a limit its last."""
    whole = printed(*[("/app/shop/deep.py", "again")] * 9000, ("/app/shop/orders.py", "load"))
    assert len(whole) > 200_000
    assert own_frame(whole) == "shop/orders.py load()"
    assert own_frame(whole[:1000]) == "shop/deep.py again()"


@pytest.mark.parametrize("text", ["", "ValueError: no", 'at com.example.Main(Main.java:3)\n  File "x"', "\0" * 1000])
def test_what_is_no_stack_trace_of_pythons_has_none(text: str) -> None:
    """Other languages' are not read."""
    assert own_frame(text) == ""


def test_long_lines_are_read_in_a_time_that_grows_with_their_length() -> None:
    """Texts that look like the edges of groups, or like endless paths, are read like others."""
    for text in (" +-|" * 50_000, "+" + "-" * 200_000, "+-" * 100_000, f'  File "{"python" * 30_000}'):
        assert own_frame(text) == ""
