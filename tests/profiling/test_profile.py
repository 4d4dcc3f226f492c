"""Profiles as text: bounded, and read again as they were written."""

from __future__ import annotations

import sys
from types import FrameType

from causal_otel.causality.folded import folded, hottest, stacks
from causal_otel.names import CAUSAL_PROFILE, CAUSAL_PROFILE_SAMPLES
from causal_otel.profiling.profile import Profile, stack_of

_LONGEST = 8000


def test_what_is_written_is_read() -> None:
    """A profile is a stack a line, the most frequent first, and is read as that."""
    seen = {"a.py:1 main();b.py:2 <lambda>()": 3, "a.py:1 main()": 10}
    text = folded(seen, _LONGEST)
    assert text == "a.py:1 main() 10\na.py:1 main();b.py:2 <lambda>() 3"
    assert stacks(text) == [(("a.py:1 main()",), 10), (("a.py:1 main()", "b.py:2 <lambda>()"), 3)]
    assert hottest(stacks(text)) == [("a.py:1 main()", 10), ("b.py:2 <lambda>()", 3)]


def test_what_is_none_is_left_out() -> None:
    """Whatever somebody has sent in its place is read without complaint; a line that was cut is left out."""
    assert stacks("") == stacks("7") == stacks("a.py:1 main()") == stacks("a.py:1 f() 0") == stacks("f() -1") == []
    assert stacks("f() " + "9" * 5000) == stacks("f() ²") == []
    assert stacks("f() 2\ng();h") == [(("f()",), 2)]


def test_it_is_bounded() -> None:
    """However many stacks were seen in a span, the text is bounded, and all samples are counted."""
    profile = Profile()
    for number in range(10_000):
        for _ in range(1 + (number == 7)):
            profile.add(f"module_{number}.py:{number} {'f' * (number % 300)}()")
    told = profile.attributes(0.05)
    assert told[CAUSAL_PROFILE_SAMPLES] == 10_001
    assert len(told[CAUSAL_PROFILE]) <= _LONGEST
    assert told[CAUSAL_PROFILE].startswith("module_7.py:7 fffffff() 2\n")
    assert len(profile.seen) <= 200


def test_a_short_glance_says_nothing() -> None:
    """A span that was seen once or twice has no profile."""
    profile = Profile()
    for told in (False, False, True):
        profile.add("f()")
        assert bool(profile.attributes(0.05)) is told


def test_a_long_stack_does_not_hide_others() -> None:
    """A stack that has no room is left out, and shorter ones that were seen less often are there."""
    assert folded({"x" * 100: 9, "f()": 1}, 50) == "f() 1"


def _deep(frames: int) -> FrameType:
    return _deep(frames - 1) if frames else sys._getframe()


def test_a_deep_stack_is_cut() -> None:
    """Of a recursion the innermost frames are told."""
    frames = stack_of(_deep(300)).split(";")
    assert len(frames) == 60
    assert all(frame.endswith(" _deep()") for frame in frames)


def test_what_is_outside_is_cut() -> None:
    """A stack begins with the user's own outermost frame: not with the server, or the test runner, that called it."""
    first = stack_of(sys._getframe()).split(";")
    assert first[-1].startswith("profiling/test_profile.py:")
    namespace: dict[str, object] = {"stack_of": stack_of, "sys": sys}
    exec(compile("def planted():\n    return stack_of(sys._getframe())", "odd;name\n.py", "exec"), namespace)
    assert namespace["planted"]().endswith(";odd,name .py:2 planted()")  # type: ignore[operator]
