"""What ``install(patches=...)`` says: which patches to apply, with which options."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from causal_otel._internal.setting_types import EXCLUDED_NAMES, EXCLUDED_URLS, SECONDS
from causal_otel.configuration.checking import did_you_mean
from causal_otel.configuration.others_names import patch_for
from causal_otel.instrument.options import Options
from causal_otel.instrument.registry import BrokenPatch
from causal_otel.settings import SettingError
from causal_otel.settings.given import Origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.declaration import Patch
    from causal_otel.instrument.registry import Registered
    from causal_otel.settings import Settings
    from causal_otel.settings.given import Given

__all__ = ["Patches", "check_app", "choose", "with_defaults"]

Patches = Iterable[str] | Mapping[str, "bool | Options"] | None
"""What to patch: None for everything, names, or a mapping of name to bool or to the patch's options.

A mapping that only says False is everything else, and so are names with a ``-`` before each.
"""


def choose(settings: Settings, registered: Mapping[str, Registered]) -> dict[str, Options | None]:
    """Which patches to apply, with the options that are given for them; None: none, and nothing is imported for it.

    Raises:
        SettingError: there is no such patch, or its options are not allowed.
    """
    given = settings.used("patches")
    wanted = _wanted(settings.patches, registered, given.cited if given else "patches")
    disabled = _disabled(settings, registered)
    for name in (*wanted, *settings.patch_options):
        if name not in registered:
            raise _unknown(name, _place(name, settings), registered)
    chosen: dict[str, Options | None] = {}
    for name, choice in wanted.items():
        if choice is False or name in disabled:
            continue
        options = choice
        if choice is True:
            options = _of_file(registered[name], settings.patch_options.get(name))
        chosen[name] = None if options is None else _checked(registered[name], options, _place(name, settings))
    return chosen


def _wanted(patches: object, registered: Mapping[str, Registered], cited: str) -> dict[str, object]:
    """What is said of each patch: True, False or its options. Those that are not in it are left out."""
    if isinstance(patches, str) or not isinstance(patches, Iterable | None):
        raise SettingError(f"{cited}={patches!r} is not allowed; it must be a list of names: [{str(patches)!r}]")
    if isinstance(patches, Mapping):
        wanted = dict(patches)
    else:
        names = ["all"] if patches is None else list(patches)
        if names == ["all"]:
            return dict.fromkeys(registered, True)
        if names == ["none"]:
            return {}
        excluded = [isinstance(name, str) and name.startswith("-") for name in names]
        if not all(isinstance(name, str) for name in names) or len(set(excluded)) > 1:
            raise SettingError(
                f"{cited}={names!r} is not allowed; it must be a list of names, either all with a - before or none"
            )
        wanted = {name.removeprefix("-"): not any(excluded) for name in names}
    if wanted and all(choice is False for choice in wanted.values()):
        wanted = {**dict.fromkeys(registered, True), **wanted}
    return wanted


def _disabled(settings: Settings, registered: Mapping[str, Registered]) -> set[str]:
    """The patches that are left out whatever else is said."""
    given = settings.used("disabled_patches")
    if given is None:
        return set()
    if given.origin is Origin.VARIABLE:  # it names what others instrument as well
        names = {patch_for(name) for name in settings.disabled_patches}
        return set(registered) if "*" in names else names
    for name in settings.disabled_patches:
        if name not in registered:
            raise _unknown(name, given.cited, registered)
    return set(settings.disabled_patches)


def _place(name: str, settings: Settings) -> str:
    """Where a patch of that name is spoken of."""
    for given in settings.patch_options.get(name, {}).values():
        return given.cited.rpartition(f".{name}.")[0]
    used = settings.used("patches")
    return used.cited if used else "patches"


def _unknown(name: object, place: str, registered: Mapping[str, Registered]) -> SettingError:
    near = did_you_mean(str(name), registered)
    return SettingError(f"{place}: there is no {name!r}{near}; there are: {', '.join(registered)}")


def _of_file(registered: Registered, content: Mapping[str, Given] | None) -> Options | None:
    """The options that a file gives a patch, if any."""
    if not content:
        return None
    from causal_otel.patch_options import options_of

    try:
        return options_of(registered.load().options, content)
    except BrokenPatch as problem:
        raise SettingError(f"{next(iter(content.values())).cited} is not allowed: {problem}") from problem


def _checked(registered: Registered, options: object, place: str) -> Options:
    """The options that are given for a patch at a place, looked at."""
    name = registered.name
    try:
        kind = registered.load().options
    except BrokenPatch as problem:
        raise SettingError(f"{place}: {name}={options!r} is not allowed: {problem}") from problem
    if not isinstance(options, kind):
        raise SettingError(f"{place}: {name}={options!r} is not allowed; it must be True, False or {kind.__name__}")
    excluded = EXCLUDED_URLS if options.by_url else EXCLUDED_NAMES
    try:
        allowed = options.excluded is None or excluded.accepts(options.excluded)
    except (TypeError, AttributeError):
        allowed = False
    if not allowed:
        raise SettingError(
            f"{place}: {name}: excluded={options.excluded!r} is not allowed; it must be {excluded.allowed}"
        )
    require_parent = getattr(options, "require_parent", None)
    if not (require_parent is None or isinstance(require_parent, bool)):
        raise SettingError(
            f"{place}: {name}: require_parent={require_parent!r} is not allowed; it must be True, False or None"
        )
    slow = getattr(options, "slow_plumbing", None)
    if not (slow is None or SECONDS.accepts(slow)):
        raise SettingError(f"{place}: {name}: slow_plumbing={slow!r} is not allowed; it must be {SECONDS.allowed}")
    for hook in ("request_hook", "response_hook"):
        given = getattr(options, hook)
        if given is not None and (not callable(given) or inspect.iscoroutinefunction(given)):
            raise SettingError(f"{place}: {name}: {hook}={given!r} is not allowed; it must be callable, and not async")
    mistake = options.mistake()
    if mistake is not None:
        raise SettingError(f"{place}: {name}: {mistake}")
    return options


def with_defaults(chosen: Mapping[str, Options | None], settings: Settings) -> dict[str, Callable[[Patch], Options]]:
    """What makes the options of each chosen patch: what the user's leave open is as the settings say."""
    excluded = dict.fromkeys(("aiohttp", "asgi", "httpx", "wsgi"), settings.excluded_urls)
    excluded |= dict.fromkeys(("celery", "taskiq"), settings.excluded_tasks)
    if not settings.lock_waits:
        chosen = {name: options for name, options in chosen.items() if name != "locks"}
    shared = {
        "require_parent": settings.require_parent,
        "slow_plumbing": settings.slow_plumbing,
        "cpu_time": settings.cpu_time,
        "code_origin": settings.code_origin,
        "loop_block_threshold": settings.loop_block_threshold,
        "request_headers": settings.request_headers,
        "response_headers": settings.response_headers,
        "trusted_proxies": settings.trusted_proxies,
    }
    return {
        name: partial(_complete, given, {"excluded": excluded.get(name, ()), **shared})
        for name, given in chosen.items()
    }


def _complete(given: Options | None, defaults: Mapping[str, object], patch: Patch) -> Options:
    options = patch.options() if given is None else given
    missing: dict[str, Any] = {key: value for key, value in defaults.items() if getattr(options, key, ...) is None}
    return replace(options, **missing) if missing else options


def check_app(app: object, chosen: Mapping[str, Options | None]) -> None:
    """An application that would silently go untraced is an error here.

    Raises:
        SettingError: ``app`` is not traced.
    """
    if app is None:
        return
    if "asgi" not in chosen:
        raise SettingError("install(app) needs the patch 'asgi', and patches= leaves it out")
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(app).__mro__}
    if "starlette.applications.Starlette" not in names:
        raise SettingError(
            f"install(app): {type(app).__name__} is no FastAPI or Starlette application; wrap other ASGI applications "
            "in causal_otel.patches.asgi.TracingMiddleware"
        )
