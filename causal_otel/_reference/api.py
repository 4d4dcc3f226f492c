"""``docs/reference/api.md``, from the signatures and docstrings of what ``causal_otel.__all__`` names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import griffe

import causal_otel
from causal_otel._reference.patches import markdown

if TYPE_CHECKING:
    from collections.abc import Iterator, Set

__all__ = ["reference"]

_INTRODUCTION = """\
# The Python API

Written by `make docs`; do not edit.

All of it is in `causal_otel` itself, typed, and stays as it is between two minor versions. What a patch has of its
own is on [its page](attributes.md). Durations are in seconds.
"""

_OF_OURS = {"Installation": {"apply", "called_again", "exports_logs", "pipeline", "reason", "start", "tracing", "warn"}}
"""Members of public classes that are for other modules of ours."""

_GROUPS = {
    "Install": ("install", "uninstall", "status", "Installation", "Status", "SettingError", "WsgiMiddleware"),
    "Spans of your own": ("span", "traced", "client_span", "ClientSpan", "keep"),
    "Context": ("inject", "extract", "environ", "detached", "current_trace_id", "current_span_id"),
    "Export": ("flush",),
}


def reference() -> str:
    """The page, in Markdown.

    Raises:
        ValueError: a name is in no group.
    """
    named = {name for names in _GROUPS.values() for name in names}
    if missing := set(causal_otel.__all__) - named - {"__version__"}:
        raise ValueError(f"{', '.join(sorted(missing))}: no group of the page has it")
    package = griffe.load("causal_otel", docstring_parser="google", search_paths=[_root()])
    page = _INTRODUCTION
    for group, names in _GROUPS.items():
        page += f"\n## {group}\n"
        for name in names:
            public = getattr(causal_otel, name)
            found = package[f"{public.__module__}.{name}".removeprefix("causal_otel.")]
            page += "".join(f"\n{part}\n" for part in _entry(found, "###"))
    return page


def _root() -> str:
    """Where the package lies: what is read is what is imported."""
    return causal_otel.__path__[0].removesuffix("/causal_otel")


def _entry(found: griffe.Object, level: str) -> Iterator[str]:
    """What the page says of a function or a class, paragraph by paragraph."""
    ours = _OF_OURS.get(found.name, set())
    yield f"{level} {found.name}"
    if isinstance(found, griffe.Function):
        yield f"`{_signature(found)}`"
    yield from _docstring(found, ours)
    if isinstance(found, griffe.Class):
        public = [
            member
            for name, member in found.members.items()
            if not (name.startswith("_") or name in ours or member.is_alias)
        ]
        fields = [member for member in public if isinstance(member, griffe.Attribute) and member.docstring]
        if fields:
            yield "\n".join(f"- `{each.name}`: {_line(each)}" for each in fields)
        for member in public:
            if isinstance(member, griffe.Function) and member.docstring:
                yield from _entry(member, f"{level}#")


def _signature(function: griffe.Function) -> str:
    """How it is called, without the types, which editors show."""
    parts: list[str] = []
    for parameter in function.parameters:
        if parameter.name in ("self", "cls"):
            continue
        kind = parameter.kind
        if kind is griffe.ParameterKind.keyword_only and not any(part.startswith("*") for part in parts):
            parts.append("*")
        star = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(kind, "")
        default = "" if parameter.default is None or star else f"={parameter.default}"
        parts.append(f"{star}{parameter.name}{default}")
    return f"{function.name}({', '.join(parts)})"


def _line(found: griffe.Object) -> str:
    return markdown(" ".join(found.docstring.value.split())) if found.docstring else ""


def _docstring(found: griffe.Object, ours: Set[str]) -> Iterator[str]:
    for section in found.docstring.parsed if found.docstring else ():
        if isinstance(section, griffe.DocstringSectionText):
            yield markdown(section.value)
        elif isinstance(section, griffe.DocstringSectionParameters | griffe.DocstringSectionAttributes):
            told = [each for each in section.value if each.name not in ours]
            yield "\n".join(f"- `{each.name}`: {_sentence(each.description)}" for each in told)
        elif isinstance(section, griffe.DocstringSectionReturns):
            yield "\n".join(f"**Returns** {_sentence(each.description)}" for each in section.value)
        elif isinstance(section, griffe.DocstringSectionRaises):
            yield "\n".join(f"**Raises** `{each.annotation}`: {_sentence(each.description)}" for each in section.value)


def _sentence(text: str) -> str:
    return markdown(" ".join(text.split()))
