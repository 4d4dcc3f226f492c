"""A configuration file as mappings whose keys are taken one by one, so that those which nobody took can be named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Section", "plain"]

_STABILITY = "_development"


def plain(value: object) -> Any:
    """A model of ``opentelemetry-configuration`` as mappings, lists and scalars, with the keys that the file has."""
    if is_dataclass(value):
        values = {field.name: getattr(value, field.name) for field in fields(value)}
        found = {_key(name): plain(each) for name, each in values.items() if each is not None}
        return found | plain(getattr(value, "additional_properties", {}))
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.value if isinstance(value, Enum) else value


def _key(field: str) -> str:
    return field.removesuffix(_STABILITY) + "/development" if field.endswith(_STABILITY) else field


class Section:
    """A mapping of the file.

    Args:
        content: of it.
        path: of its own key; empty: it is the whole file.
    """

    def __init__(self, content: Mapping[str, Any], path: str = "") -> None:
        self.path = path
        self._content = dict(content)
        self._inner: dict[str, Section] = {}

    def __bool__(self) -> bool:
        return bool(self._content or self._inner)

    def __contains__(self, key: str) -> bool:
        return key in self._content or key in self._inner

    def name(self, key: str) -> str:
        """The path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def take(self, key: str) -> Any:
        """What a key has, which is dealt with thereby; None: it is not there."""
        return self._content.pop(key, None)

    def section(self, key: str) -> Section:
        """The mapping that a key has; an empty one, if it is not there. What is not taken of it is left."""
        if key not in self._inner:
            content = self._content.pop(key, None)
            if content is None:
                return Section({}, self.name(key))
            self._inner[key] = Section(content, self.name(key))
        return self._inner[key]

    def sections(self, key: str) -> list[Section]:
        """The mappings in the list that a key has."""
        named = {f"{key}[{index}]": content for index, content in enumerate(self.take(key) or ())}
        self._inner |= {name: Section(content, self.name(name)) for name, content in named.items()}
        return [self._inner[name] for name in named]

    def drop(self) -> None:
        """Deal with all of it."""
        self._content.clear()
        self._inner.clear()

    def left(self) -> Iterator[str]:
        """The paths of all keys that nobody has taken."""
        yield from map(self.name, self._content)
        for inner in self._inner.values():
            yield from inner.left()
