"""The tokens that are valid now: the one that was given, and those of a file that is read again when it changes.

So tokens are rotated without a moment in which nobody is let in: add the new one to the file, give it to every client,
remove the old one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.followed import Followed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["COOKIE_PREFIX", "TOKEN", "Cookie", "Tokens", "TokensError", "cookie_of", "read_tokens"]

COOKIE_PREFIX = "causal-otel-"
TOKEN = re.compile(r"[!-~]+")
"""What a token may be: what a header can carry."""
_FILE_BYTES = 64 * 1024


class TokensError(Exception):
    """A file of tokens is no good; the message says why, without any of them."""


class Cookie(NamedTuple):
    """What stands for a token in a browser. It cannot be turned back, and is no good as a token.

    Attributes:
        name: another one for every token: collectors on other ports of a host share the browser's cookies.
        value: as long as the token is valid, so is it.
    """

    name: str
    value: str


def cookie_of(token: str) -> Cookie:
    """The cookie that stands for ``token``."""

    def derived(purpose: str) -> str:
        return hmac.new(token.encode(), f"causal_otel collector {purpose}".encode(), hashlib.sha256).hexdigest()

    return Cookie(COOKIE_PREFIX + derived("name")[:8], derived("session"))


def read_tokens(path: Path) -> tuple[str, ...]:
    """The tokens of a file, one a line; empty lines and those that begin with ``#`` are skipped.

    Raises:
        TokensError: There is none, or a line is none.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        text = file.read(_FILE_BYTES + 1)
    if len(text) > _FILE_BYTES:
        raise TokensError(f"it is larger than {_FILE_BYTES} bytes")
    found = []
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if not TOKEN.fullmatch(token):
            raise TokensError(f"line {number}: a token is printable ASCII characters without spaces")
        found.append(token)
    if not found:
        raise TokensError("there is no token in it")
    return tuple(found)


class Tokens:
    """The tokens that are valid now. For all threads.

    Args:
        token: one that always is; empty: none.
        file: of others, see :func:`read_tokens`; None: there is none.

    Raises:
        TokensError: The file is bad from the beginning.
        OSError: It cannot be read.
    """

    def __init__(self, token: str = "", file: Path | None = None) -> None:
        self._own = {token: cookie_of(token)} if token else {}
        self._path = file
        self._file = None
        if file is not None:
            self._file = Followed(
                [file], partial(self._read, file), explain=partial(_explained, file), bad=(TokensError,)
            )

    def __bool__(self) -> bool:
        """Whether a token is asked for at all."""
        return bool(self._own) or self._file is not None

    def has(self, text: str) -> bool:
        """Whether ``text`` is one of them, in a time that tells nothing about them."""
        # What is not known may have been added this moment.
        return any(_equal(text, each) for valid in self._all() for each in valid)

    def cookie_in(self, cookies: Mapping[str, str]) -> bool:
        """Whether a cookie stands for one of them."""
        cookie = (each for valid in self._all() for each in valid.values())
        return any(_equal(cookies.get(each.name, ""), each.value) for each in cookie)

    def cookie_names(self) -> tuple[str, ...]:
        """The names of all cookies that stand for one of them."""
        return tuple(each.name for each in self._now().values())

    def status(self) -> dict[str, object]:
        """The file, how many tokens are valid, and what is wrong with the file (empty: nothing)."""
        count = len(self._now())
        return {"file": str(self._path or ""), "tokens": count, "error": self._file.error if self._file else ""}

    def _all(self) -> Iterator[Mapping[str, Cookie]]:
        yield self._now()
        if self._file is not None:
            yield self._now(at_once=True)

    def _now(self, *, at_once: bool = False) -> Mapping[str, Cookie]:
        return self._own if self._file is None else self._file.current(at_once=at_once)

    def _read(self, path: Path) -> Mapping[str, Cookie]:
        return {**self._own, **{token: cookie_of(token) for token in read_tokens(path)}}


def _explained(path: Path, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else error
    return f"{path}: {reason}; the tokens from before stay valid"


def _equal(given: str, secret: str) -> bool:
    # Digests have the same length, whatever was given.
    digests = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, secret))
    return hmac.compare_digest(*digests)
