"""What ``install(patches=...)`` says: which patches to apply, with which options."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from causal_otel._internal.setting_types import EXCLUDED_NAMES, EXCLUDED_URLS, SECONDS
from causal_otel.instrument.options import Options
from causal_otel.instrument.registry import BrokenPatch
from causal_otel.settings import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.declaration import Patch
    from causal_otel.instrument.registry import Registered
    from causal_otel.settings import Settings

__all__ = ["Patches", "check_app", "choose", "with_defaults"]

Patches = Iterable[str] | Mapping[str, "bool | Options"] | None
"""What to patch: None for everything, names, or a mapping of name to bool or to the patch's options.

A mapping that only says False is everything else.
"""


def choose(patches: Patches, registered: Mapping[str, Registered]) -> dict[str, Options | None]:
    """Which patches to apply, with the options that the user gives them; None: none, and nothing is imported for it.

    Raises:
        SettingError: there is no such patch, or its options are not allowed.
    """
    if isinstance(patches, str):
        raise SettingError(f"patches={patches!r} is not allowed; it must be a list of names: [{patches!r}]")
    if patches is None:
        patches = tuple(registered)
    wanted = dict(patches) if isinstance(patches, Mapping) else dict.fromkeys(patches, True)
    if wanted and all(choice is False for choice in wanted.values()):
        wanted = {**dict.fromkeys(registered, True), **wanted}
    chosen: dict[str, Options | None] = {}
    for name, choice in wanted.items():
        if name not in registered:
            raise SettingError(f"patches: there is no {name!r}; there are: {', '.join(registered)}")
        if choice is True:
            chosen[name] = None
        elif choice is not False:
            chosen[name] = _checked(registered[name], choice)
    return chosen


def _checked(registered: Registered, options: object) -> Options:
    """The options that the user gives a patch, looked at."""
    name = registered.name
    try:
        kind = registered.load().options
    except BrokenPatch as problem:
        raise SettingError(f"patches: {name}={options!r} is not allowed: {problem}") from problem
    if not isinstance(options, kind):
        raise SettingError(f"patches: {name}={options!r} is not allowed; it must be True, False or {kind.__name__}")
    excluded = EXCLUDED_URLS if options.by_url else EXCLUDED_NAMES
    try:
        allowed = options.excluded is None or excluded.accepts(options.excluded)
    except (TypeError, AttributeError):
        allowed = False
    if not allowed:
        raise SettingError(
            f"patches: {name}: excluded={options.excluded!r} is not allowed; it must be {excluded.allowed}"
        )
    require_parent = getattr(options, "require_parent", None)
    if not (require_parent is None or isinstance(require_parent, bool)):
        raise SettingError(
            f"patches: {name}: require_parent={require_parent!r} is not allowed; it must be True, False or None"
        )
    slow = getattr(options, "slow_plumbing", None)
    if not (slow is None or SECONDS.accepts(slow)):
        raise SettingError(f"patches: {name}: slow_plumbing={slow!r} is not allowed; it must be {SECONDS.allowed}")
    for hook in ("request_hook", "response_hook"):
        given = getattr(options, hook)
        if given is not None and (not callable(given) or inspect.iscoroutinefunction(given)):
            raise SettingError(f"patches: {name}: {hook}={given!r} is not allowed; it must be callable, and not async")
    mistake = options.mistake()
    if mistake is not None:
        raise SettingError(f"patches: {name}: {mistake}")
    return options


def with_defaults(chosen: Mapping[str, Options | None], settings: Settings) -> dict[str, Callable[[Patch], Options]]:
    """What makes the options of each chosen patch: what the user's leave open is as the settings say."""
    excluded = dict.fromkeys(("asgi", "httpx", "wsgi"), settings.excluded_urls)
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
