"""The base of every patch's options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

__all__ = ["ClientOptions", "DatabaseOptions", "Hook", "Options"]

Hook = Callable[..., None]
"""Called with a span that is recorded and the driver's own objects, which each patch's documentation names."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The base of every patch's options.

    Args:
        excluded: what is not recorded, nor anything inside it: patterns, in which ``*`` is anything, of what the
            patch's documentation says. Other processes are handed the trace as one that is not sampled. None: what the
            settings say, and nothing where they do not.
        request_hook: is called when an operation begins, with its span and the driver's own objects: what the method
            was called on, a tuple of its positional arguments and a dict of its keyword arguments, unless the patch's
            documentation says otherwise. It may add attributes. It is a plain function, not a coroutine function, and
            is called where the driver is about to be. What it raises is contained, and counted in ``status()``.
        response_hook: likewise when the operation is over and before its span ends, with one more object: what the
            driver has returned or raised, a cancellation too, or ``GeneratorExit`` where nobody waited for the end.

    Hooks are called once for each span that is recorded of an operation. They are not called for what is a span only
    because it failed, such as connecting, whose beginning nobody has looked at.
    """

    excluded: tuple[str, ...] | None = None
    request_hook: Hook | None = None
    response_hook: Hook | None = None
    by_url: ClassVar[bool] = False
    """Whether the patterns are those of URLs."""

    def mistake(self) -> str | None:
        """What is not allowed in the options of a patch, and what would be, in a sentence; None: nothing."""
        return None


@dataclass(frozen=True, kw_only=True)
class ClientOptions(Options):
    """The options of a patch for a client.

    Args:
        require_parent: whether an operation is recorded only inside a span that is, so that one outside any span leaves
            no trace. False: it starts a trace of its own, unless it is a ping, a wait for work or a library's own
            housekeeping, as the patch's documentation says. None: what the setting ``require_parent`` says, which is
            False by default.
        slow_plumbing: seconds. A call that is no operation but made for one, such as getting a connection or
            ``COMMIT``, is a span inside a span if it takes longer, though it went well; if it fails it always is one.
            None: what the setting ``slow_plumbing`` says, which is 0.01 by default.
        code_origin: whether an operation tells the line of the application's own code that issued it, as
            ``causal.code.origin``. None: what the setting ``code_origin`` says, which is False by default.
    """

    require_parent: bool | None = None
    slow_plumbing: float | None = None
    code_origin: bool | None = None


@dataclass(frozen=True, kw_only=True)
class DatabaseOptions(ClientOptions):
    """The options of a patch for the client of a database.

    Args:
        query_text: whether ``db.query.text`` is recorded, without values.
        parameters: whether the parameters of statements are recorded, as ``db.query.parameter.<name or position>``, cut
            to 256 characters each. They are values: redaction sees them before, and nothing else hides them.
        traceparent: whether the server is told the trace of an operation, for its own logs. The patch's documentation
            says how.
    """

    query_text: bool = True
    parameters: bool = False
    traceparent: bool = False
