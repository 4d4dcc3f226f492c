"""The text of what a program may give for a statement: text, bytes, a composed statement, a template string.

No value is rendered: a literal would be told by the adapters of its type, which may be the program's own. An empty
literal stands for it, which the sanitiser shows as ``?``.
"""

from __future__ import annotations

from typing import Any

__all__ = ["query_text"]

_LITERAL = "''"
_LONGEST = 65536  # characters; what is longer than the sanitiser looks at need not be complete
_DEEPEST = 32


def query_text(query: Any, depth: int = 0) -> str | None:
    """The text of a statement, or of a part of one; None: it is none.

    Args:
        query: what the driver was given.
        depth: how many statements it is inside.
    """
    if isinstance(query, str):
        return query
    if isinstance(query, bytes | bytearray):
        return bytes(query[:_LONGEST]).decode("utf-8", "replace")
    if depth > _DEEPEST:
        return _LITERAL
    module, kind = type(query).__module__, type(query).__name__
    if module == "psycopg.sql":
        return _composable(kind, query, depth)
    if kind == "Template" and hasattr(query, "interpolations"):
        return _template(query, depth)
    return None if depth == 0 and not hasattr(query, "as_bytes") else _LITERAL


def _composable(kind: str, part: Any, depth: int) -> str:
    """Of one of the classes of ``psycopg.sql``."""
    if kind == "Composed":
        found: list[str] = []
        length = 0
        for each in part:
            text = query_text(each, depth + 1) or ""
            found.append(text)
            length += len(text)
            if length > _LONGEST:
                break
        return "".join(found)
    content = getattr(part, "_obj", None)
    if kind == "SQL" and isinstance(content, str):
        return content
    if kind == "Identifier" and isinstance(content, list | tuple):
        return _identifier(*content)
    if kind == "Placeholder":
        return f"%({content})s" if isinstance(content, str) and content else "%s"
    return _LITERAL


def _identifier(*names: Any) -> str:
    return ".".join('"' + str(name).replace('"', '""') + '"' for name in names)


def _template(template: Any, depth: int) -> str:
    """Of a template string (Python 3.14): its texts, with what psycopg would put between them."""
    found = [template.strings[0]]
    for interpolation, text in zip(template.interpolations, template.strings[1:], strict=True):
        kind = interpolation.format_spec
        if kind == "i" and isinstance(interpolation.value, str):
            found.append(_identifier(interpolation.value))
        elif kind in ("i", "q"):
            found.append(query_text(interpolation.value, depth + 1) or _LITERAL)
        else:
            found.append(_LITERAL if kind == "l" else "%s")
        found.append(text)
    return "".join(found)
