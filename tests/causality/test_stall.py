"""What is recorded of a stall, given what was seen while it lasted."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.context import Context

from causal_otel import names
from causal_otel.causality.stacks import Place
from causal_otel.causality.stall import _SAMPLES, NOTHING, Record, Sample, Stall, looked_at
from causal_otel.causality.thread_times import Reading
from causal_otel.causality.turns import Turn
from tests.causality.test_stacks import compiled

MS = 1_000_000
RENDER, LOAD, OTHER = (compiled(f"/srv/shop/{name}.py").__code__ for name in ("report", "orders", "other"))
THREAD = 1
HERE = Context({"here": True})


def _reading(at: int, computing: float) -> Reading:
    """A reading of a thread that computes for that share of the time, from 1000 ms on."""
    return Reading(at * MS, int(max(0, at - 1000) * computing * MS), 0, 0, 0)


def _stall(
    *seen: tuple[int, object, Any, int],
    context: Context = HERE,
    computing: float = 0.0,
    task: str = "",
) -> Stall:
    """A stall that begins at 1000 ms, and what was seen: moment, owner, code, line."""
    stall = Stall("turn", 1000 * MS, (_reading(990, 0), _reading(1030, computing)))
    for at, owner, code, line in seen:
        place = None if code is None else Place(code, line)
        stack = () if place is None else (place,)
        stall.add(Sample(at * MS, _reading(at, computing), owner, task, context, place, stack))
    return stall


def _records(stall: Stall, end: int, computing: float = 0.0) -> list[Record]:
    return list(stall.records(end * MS, _reading(end, computing), THREAD, 50 * MS))


def _summary(records: list[Record]) -> list[tuple[int, int, str]]:
    return [(record.start // MS, record.end // MS, record.frame) for record in records]


def test_one_callback() -> None:
    """It is one record, with the times of the turn, what was current, and what blocked."""
    one = object()
    stall = _stall((1040, one, RENDER, 31), (1050, one, RENDER, 31), task="nightly report")
    (record,) = _records(stall, 1200)
    assert (record.start, record.end) == (1000 * MS, 1200 * MS)
    assert record.context is HERE
    assert record.frame == "report.py:31 render()"
    assert record.attributes == {
        names.CAUSAL_BLOCK_FRAME: "report.py:31 render()",
        names.CODE_STACKTRACE: 'Stack (most recent call last):\n  File "/srv/shop/report.py", line 31, in render\n',
        names.CAUSAL_BLOCK_WAIT: 0.2,
        names.CAUSAL_TASK_NAME: "nightly report",
    }


def test_the_function_that_took_longest() -> None:
    """Of several functions in one callback it is that one, and of its lines likewise."""
    one = object()
    stall = _stall(
        (1040, one, LOAD, 1),
        (1050, one, RENDER, 31),
        (1060, one, RENDER, 32),
        (1085, one, RENDER, 31),
        (1090, one, RENDER, 33),
    )
    assert _summary(_records(stall, 1095)) == [(1000, 1095, "report.py:32 render()")]


def test_code_that_lets_nobody_look() -> None:
    """It is seen late, but was to be looked at before: the time until then is its own."""
    one = object()
    stall = _stall((1040, one, RENDER, 31), (1400, one, LOAD, 52), (1410, one, LOAD, 52), (1420, one, LOAD, 52))
    assert _summary(_records(stall, 1450)) == [(1000, 1450, "report.py:31 render()")]


def test_two_callbacks_that_took_long() -> None:
    """Each is a record of its own, with its own time and context; together they are the stall."""
    first, second = object(), object()
    stall = _stall((1040, first, RENDER, 31), (1050, first, RENDER, 31), (1100, second, LOAD, 52))
    assert _summary(_records(stall, 1200)) == [
        (1000, 1100, "report.py:31 render()"),
        (1100, 1200, "orders.py:52 render()"),
    ]


def test_a_short_callback_after_a_long_one() -> None:
    """What was short is not told, and what was long is not told to be longer."""
    first, second = object(), object()
    stall = _stall((1040, first, RENDER, 31), (1080, second, LOAD, 52))
    assert _summary(_records(stall, 1100)) == [(1000, 1080, "report.py:31 render()")]


@pytest.mark.parametrize("shared", [True, False])
def test_many_short_callbacks(shared: bool) -> None:
    """They are one record of the whole turn, which says how many; nobody's child, unless all have the same parent."""
    stall = _stall(*((1049 + 5 * number, object(), (RENDER, LOAD)[number % 3 == 0], 7) for number in range(6)))
    if not shared:
        stall.add(Sample(1080 * MS, None, object(), "t", Context({"there": True}), Place(OTHER, 1), ()))
    (record,) = _records(stall, 1085)
    assert _summary([record]) == [(1000, 1085, "report.py:7 render()")]
    assert record.attributes[names.CAUSAL_BLOCK_CALLBACKS] == 7 - shared
    assert record.context is (HERE if shared else NOTHING)
    assert names.CAUSAL_TASK_NAME not in record.attributes


def test_no_code_in_python() -> None:
    """A callback that is a function in C has no frame, and is told without one."""
    (record,) = _records(_stall((1040, object(), None, 0)), 1100)
    assert record.frame == ""
    assert not {names.CAUSAL_BLOCK_FRAME, names.CODE_STACKTRACE} & record.attributes.keys()


def test_nothing_was_seen() -> None:
    """Then nothing is recorded: nobody looked, for nobody could."""
    assert _records(_stall(), 1100) == []


def test_parts_of_the_time() -> None:
    """They are told in seconds, from a millisecond on."""
    (record,) = _records(_stall((1040, object(), RENDER, 1), computing=0.9), 1100, computing=0.9)
    parts = {key: value for key, value in record.attributes.items() if isinstance(value, float)}
    assert parts == {names.CAUSAL_BLOCK_CPU: 0.09, names.CAUSAL_BLOCK_WAIT: 0.01}


def test_a_system_that_tells_no_times() -> None:
    """There are no parts then, rather than wrong ones."""
    stall = Stall("turn", 1000 * MS, ())
    stall.add(Sample(1040 * MS, None, object(), "", HERE, Place(RENDER, 1), ()))
    (record,) = stall.records(1100 * MS, None, THREAD, 50 * MS)
    assert not [value for value in record.attributes.values() if isinstance(value, float)]


def test_a_stall_without_an_end() -> None:
    """What is kept of it is bounded."""
    one = object()
    stall = _stall(*((1000 + number, one, RENDER, 1) for number in range(3 * _SAMPLES)))
    assert len(stall._samples) == _SAMPLES
    assert _summary(_records(stall, 9000)) == [(1000, 9000, "report.py:1 render()")]


def _turn(depth: int, file: str = "/srv/site-packages/acme/db.py", module: str = "acme.db") -> Any:
    """What is seen of a callback of the user's that has called a library, which calls itself."""
    seen: list[Any] = []
    library: dict[str, Any] = {"__name__": module}
    text = "def render(depth, look):\n    return render(depth - 1, look) if depth else look()\n"
    exec(compile(text, file, "exec"), library)
    own: dict[str, Any] = {"__name__": "shop.report"}
    exec(compile("def render(call, *more):\n    return call(*more)\n", "/srv/shop/report.py", "exec"), own)

    def look() -> None:
        import sys

        frame = sys._getframe(1)
        outside = sys._getframe(depth + 3)
        seen.append(looked_at(Turn(1, 0, None, frame, outside)))

    own["render"](library["render"], depth, look)
    return seen[0]


def test_the_users_frame_is_found_however_deep_a_library_is() -> None:
    """The stack tells the innermost frames, and the user's own may be further out."""
    seen = _turn(200)
    assert str(seen.place) == "report.py:2 render()"
    assert len(seen.stack) == 50
    assert {each.code.co_filename for each in seen.stack} == {"/srv/site-packages/acme/db.py"}
    assert not seen.debugged
    assert [each.code.co_filename for each in _turn(0).stack] == [
        "/srv/site-packages/acme/db.py",
        "/srv/shop/report.py",
    ]


@pytest.mark.parametrize(
    "module", ["pdb", "bdb", "_pydevd_bundle.pydevd_frame", "debugpy.server", "IPython.core.magic"]
)
def test_somebody_who_debugs(module: str) -> None:
    """A frame of a debugger or of IPython is one of somebody who has stopped the program."""
    assert _turn(1, module=module).debugged


def test_nothing_inside() -> None:
    """A callback without Python code has no place."""
    import sys

    frame = sys._getframe()
    assert looked_at(Turn(1, 0, None, frame, frame)) == (None, (), False)
