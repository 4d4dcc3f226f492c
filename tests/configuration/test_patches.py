"""Patches and their options, chosen without code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from causal_otel.instrument.registry import BUILT_IN
from causal_otel.load_settings import load_settings
from causal_otel.patch_choice import choose
from causal_otel.patches.asgi import AsgiOptions
from causal_otel.patches.httpx import HttpxOptions
from causal_otel.patches.redis import RedisOptions
from causal_otel.settings import SettingError


def _chosen(
    directory: Path, variables: dict[str, str] | None = None, toml: str = "", **arguments: Any
) -> dict[str, Any]:
    (directory / "pyproject.toml").write_text(f"[tool.causal_otel]\n{toml}\n")
    return choose(load_settings(variables or {}, str(directory), **arguments), BUILT_IN)


def _without(*names: str) -> set[str]:
    return set(BUILT_IN) - set(names)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", _without()),
        ("none", set()),
        ("asyncpg, redis", {"asyncpg", "redis"}),
        ("-threads,-locks", _without("threads", "locks")),
    ],
)
def test_by_the_variable(tmp_path: Path, text: str, expected: set[str]) -> None:
    """TRACING_PATCHES has names, names that are left out, ``all`` or ``none``; so have lists in code and in TOML."""
    assert _chosen(tmp_path, {"TRACING_PATCHES": text}).keys() == expected
    names = [name.strip() for name in text.split(",")]
    assert _chosen(tmp_path, patches=names).keys() == expected
    assert _chosen(tmp_path, toml=f"patches = {names}").keys() == expected


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("patches = {redis = false, valkey = false}", _without("redis", "valkey")),
        ("patches = {redis = true}", _without()),
        ("patches.asgi.traceresponse = false", _without()),
        ('patches = {"*" = false, redis = true, asgi = {traceresponse = false}}', {"asgi", "redis"}),
    ],
)
def test_by_a_table(tmp_path: Path, toml: str, expected: set[str]) -> None:
    """A table leaves out, or gives options, and all others stay; unless ``"*"`` is false."""
    assert _chosen(tmp_path, toml=toml).keys() == expected


def test_options_become_the_patchs_own(tmp_path: Path) -> None:
    """A table is the patch's dataclass of options: lists are tuples, false is None where an option has that."""
    toml = """
        [tool.causal_otel.patches.asgi]
        trace_id_header = false
        traceresponse = false
        excluded = ["/health"]
        progress_interval = 5
        [tool.causal_otel.patches.httpx]
        propagate_to = ["*.example.com"]
        require_parent = false
    """
    chosen = _chosen(tmp_path, toml=toml)
    assert chosen["asgi"] == AsgiOptions(
        trace_id_header=None, traceresponse=False, excluded=("/health",), progress_interval=5
    )
    assert chosen["httpx"] == HttpxOptions(propagate_to=("*.example.com",), require_parent=False)
    assert chosen["redis"] is None


def test_names_of_one_source_and_options_of_another(tmp_path: Path) -> None:
    """The variable says which patches, and pyproject still says their options; options in code replace those."""
    toml = "patches.redis = {keys = true}"
    assert _chosen(tmp_path, {"TRACING_PATCHES": "redis"}, toml) == {"redis": RedisOptions(keys=True)}
    assert _chosen(tmp_path, toml=toml, patches=["redis"]) == {"redis": RedisOptions(keys=True)}
    assert _chosen(tmp_path, toml=toml, patches={"redis": RedisOptions()}) == {"redis": RedisOptions()}
    assert _chosen(tmp_path, {"TRACING_PATCHES": "asgi"}, toml) == {"asgi": None}


def test_a_variable_brings_back_what_pyproject_leaves_out(tmp_path: Path) -> None:
    """The choice is that of the first source that makes one."""
    assert _chosen(tmp_path, {"TRACING_PATCHES": "redis"}, "patches = {redis = false}").keys() == {"redis"}
    assert _chosen(tmp_path, {"TRACING_PATCHES": "redis"}, patches=["asgi"]).keys() == {"asgi"}


def test_disabled_instrumentations(tmp_path: Path) -> None:
    """OpenTelemetry's variable leaves out patches, by its names as well; it beats even names in code; ``*`` is all."""
    name = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
    assert _chosen(tmp_path, {name: "redis,fastapi,urllib3"}).keys() == _without("redis", "asgi")
    assert _chosen(tmp_path, {name: "redis"}, patches=["redis", "asgi"]).keys() == {"asgi"}
    assert _chosen(tmp_path, {name: "*"}) == {}
    assert _chosen(tmp_path, toml='disabled_patches = ["redis"]').keys() == _without("redis")
    with pytest.raises(
        SettingError, match=r"tool.causal_otel.disabled_patches: there is no 'redsi'; did you mean redis"
    ):
        _chosen(tmp_path, toml='disabled_patches = ["redsi"]')


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('patches = ["redsi"]', "tool.causal_otel.patches: there is no 'redsi'; did you mean redis?; there are: "),
        (
            'patches = ["redis", "-asgi"]',
            "tool.causal_otel.patches=['redis', '-asgi'] is not allowed; it must be a list",
        ),
        ("patches = [5]", "tool.causal_otel.patches=[5] is not allowed; it must be a list of names, either"),
        ("patches = [{}]", "tool.causal_otel.patches=[{}] is not allowed; it must be a list of names, either"),
        ('patches = "redis"', "tool.causal_otel.patches='redis' is not allowed; it must be a list of names: ['redis']"),
        ("patches = 5", "tool.causal_otel.patches=5 is not allowed; it must be a list of names: ['5']"),
        ("patches = {redsi = false}", "tool.causal_otel.patches: there is no 'redsi'; did you mean redis?"),
        ("patches.redsi.keys = true", "tool.causal_otel.patches: there is no 'redsi'; did you mean redis?"),
        (
            "patches.redis.kyes = true",
            "tool.causal_otel.patches.redis.kyes: there is no such option; did you mean keys?",
        ),
        ('patches.redis.keys = "yes"', "tool.causal_otel.patches.redis.keys='yes' is not allowed; it must be true or"),
        ("patches.asgi.trace_id_header = 5", "tool.causal_otel.patches.asgi.trace_id_header=5 is not allowed; it must"),
        ('patches.asgi.excluded = ["health"]', "tool.causal_otel.patches: asgi: excluded=('health',) is not allowed;"),
        ("patches.asgi.excluded = [5]", "tool.causal_otel.patches.asgi.excluded=[5] is not allowed; it must be a list"),
        ('patches.asgi.request_hook = "x:y"', "tool.causal_otel.patches.asgi.request_hook: hooks are functions, which"),
        (
            "patches.redis.slow_plumbing = -1",
            "tool.causal_otel.patches: redis: slow_plumbing=-1 is not allowed; it must",
        ),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, toml: str, message: str) -> None:
    """A patch or an option that does not exist, or has another type, is refused by its place, with the near one."""
    with pytest.raises(SettingError) as refused:
        _chosen(tmp_path, toml=toml)
    assert str(refused.value).removeprefix(f"{tmp_path}/pyproject.toml: ").startswith(message)


def test_mistakes_in_the_variable(tmp_path: Path) -> None:
    """A patch that does not exist is refused by the variable that names it."""
    with pytest.raises(
        SettingError, match=r"^TRACING_PATCHES: there is no 'asyncgp'; did you mean asyncpg\?; there are"
    ):
        _chosen(tmp_path, {"TRACING_PATCHES": "asyncgp"})
