"""What a tool is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from causal_otel.collector.mcp.answers import MOST_BYTES
from causal_otel.collector.mcp.arguments import Arguments, read_arguments, schema_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from causal_otel.collector.mcp.sources import Traces

__all__ = ["Tool", "capped"]

_Read = TypeVar("_Read", bound=Arguments)


def capped(rows: int) -> str:
    """What the description of a tool says that gives so many rows at the most, page by page."""
    return (
        f"At most {rows} rows and {MOST_BYTES:,} bytes an answer; left_out says how many more there are, next_cursor "
        "gets the next page."
    )


@dataclass(frozen=True)
class Tool(Generic[_Read]):
    """A tool.

    Attributes:
        name: what it is called by.
        title: for people.
        description: for the model: what it answers, how much of it, and what to call next.
        arguments: what it takes.
        answer: the answer; it raises :class:`~causal_otel.collector.mcp.answers.Refused` where there is none.
    """

    name: str
    title: str
    description: str
    arguments: type[_Read]
    answer: Callable[[Traces, _Read], str]

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of what it takes."""
        return schema_of(self.arguments)

    def read(self, given: Mapping[str, Any]) -> _Read:
        """The arguments of a call.

        Raises:
            Refused: They are not what it takes.
        """
        return read_arguments(self.arguments, given)
