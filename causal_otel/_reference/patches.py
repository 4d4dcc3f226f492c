"""``docs/reference/patches/``: a page a patch, from its declaration, its docstring and those of its options."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING

from causal_otel.instrument.registry import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.declaration import Patch
    from causal_otel.instrument.options import Options

__all__ = ["EXTRAS", "link", "markdown", "options_table", "pages"]

_FOLDER = "patches"
EXTRAS = {"asgi": "fastapi", "grpc": "grpcio", "wsgi": "flask"}
"""Extras that have another name than their patch."""


def link(name: str) -> str:
    """Where a page of the reference finds that of a patch."""
    return f"{_FOLDER}/{name}.md"


def pages() -> dict[str, Callable[[], str]]:
    """The page of every patch, by its path in the checkout."""
    return {f"docs/reference/{link(name)}": partial(_page, name) for name in BUILT_IN}


_PAGE = """\
# {name}

Written by `make docs`; do not edit.

{text}

## Install

{install}

## Attributes

{keys}.

[What those of ours say](../attributes.md#attributes-of-ours); [what is never recorded](../privacy.md).

## Options

`{options}`, beside [those of every patch](../attributes.md#options-of-every-patch). {hooks}

{table}"""


def _page(name: str) -> str:
    patch = BUILT_IN[name].load()
    module = sys.modules[patch.options.__module__.removesuffix(".options")]  # or the package's
    text = re.sub(r"\n\nOptions: :class:`\w+`\.$", "", inspect.cleandoc(module.__doc__ or ""))
    return _PAGE.format(
        name=name,
        text=markdown(text),
        install=_install(name, patch),
        keys=", ".join(f"`{key}`" for key in patch.records) or "none",
        options=f"{module.__name__}.{patch.options.__name__}",
        hooks=_hooks(patch.options),
        table=options_table(patch.options),
    )


def _install(name: str, patch: Patch) -> str:
    off = f'`patches={{"{name}": False}}` leaves it out.'
    if not patch.versions:
        return f"It needs no package. `causal_otel.install()` applies it; {off}"
    versions = "; ".join(f"`{each}` from {first}, below {last}" for each, (first, last) in patch.versions.items())
    return (
        f"Versions: {versions}. The extra `{EXTRAS.get(name, name)}` brings one of them.\n\n"
        f"`causal_otel.install()` applies the patch when the library is imported; {off}"
    )


def _hooks(options: type[Options]) -> str:
    """What the docstring of options says between its first line and its arguments: how the hooks are called."""
    text = inspect.getdoc(options) or ""
    paragraphs = text.partition("\nArgs:")[0].strip().split("\n\n")[1:]
    return markdown(" ".join("\n\n".join(paragraphs).split())) or "The hooks are called as for every patch."


def options_table(*classes: type[Options]) -> str:
    """The options that each class adds or explains anew, as one table."""
    rows = ["| option | default | what it does |", "|---|---|---|"]
    for options in classes:
        explained = _arguments(inspect.getdoc(options) or "")
        known = (field for field in fields(options) if field.name in explained)
        rows += (f"| `{field.name}` | `{field.default}` | {explained[field.name]} |" for field in known)
    return "\n".join(rows) + "\n"


def _arguments(docstring: str) -> dict[str, str]:
    """What a docstring's section ``Args:`` says of each, as one line of Markdown."""
    section = docstring.partition("\nArgs:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n(?:        .*|))*)", section, re.MULTILINE)
    lines = {name: markdown(" ".join(text.split())) for name, text in found}
    return {name: line[:1].upper() + line[1:] for name, line in lines.items()}


def markdown(text: str) -> str:
    """A docstring's markup in Markdown: literals, references, and simple tables."""
    text = re.sub(r":\w+:`(?:~?[\w.]*?\.|~)?(\w+)`", r"`\1`", text)
    text = re.sub(r"^=+ +=+\n(.*?)^=+ +=+$", _rows, text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^::\n\n", "", text, flags=re.MULTILINE)  # a block of code follows
    return re.sub(r"::$", ":", text, flags=re.MULTILINE).replace("``", "`").replace(r"\ ", "")


def _rows(found: re.Match[str]) -> str:
    """A simple table of two columns, whose first row is a row like the others."""
    width = len(found[0].partition(" ")[0])
    rows: list[list[str]] = []
    for line in found[1].splitlines():
        left, right = line[:width].strip(), line[width:].strip()
        # A line that begins a row has a right cell that begins a sentence; others go on where the row above ended.
        if left and not (rows and _goes_on(rows[-1], right)):
            rows.append([left, right])
        else:
            rows[-1] = [f"{rows[-1][0]} {left}".strip(), f"{rows[-1][1]} {right}".strip()]
    return "\n".join(["| | |", "|---|---|", *(f"| {left} | {right} |" for left, right in rows)])


def _goes_on(row: list[str], right: str) -> bool:
    """Whether a line whose left cell is not empty belongs to the row above: that one's names end in a comma."""
    return row[0].endswith((",", ";"))
