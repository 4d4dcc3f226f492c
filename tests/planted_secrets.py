"""Secrets that are planted, each known by its place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import causal_otel

__all__ = ["SECRETS", "card", "failing", "jwt"]


class _Secrets(dict[str, str]):
    """Secrets by the place where each is, all different: made when first asked for."""

    def __missing__(self, place: str) -> str:
        found = self[place] = f"hunter{len(self):02}{place.replace(' ', '')}"
        return found


SECRETS = _Secrets()


def jwt(place: str) -> str:
    """A token, whose signature is remembered as the secret."""
    return f"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.{SECRETS[place]}"


def card(place: str, number: str) -> str:
    """A card's number."""
    SECRETS[place] = number
    return number


@contextlib.contextmanager
def failing(name: str) -> Iterator[None]:
    """A span of the user's, in which something fails whose message is recorded."""
    with contextlib.suppress(Exception), causal_otel.span(name):
        yield
