"""What the neo4j driver keeps to itself. Every version may have it elsewhere, and then we know less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Endpoint",
    "auto_result",
    "endpoint_of_driver",
    "endpoint_of_session",
    "endpoint_of_transaction",
    "followed",
    "owner_of",
    "private",
    "summary_of",
]

Endpoint = tuple[Any, Any]
"""Address and database, either None where unknown."""


def private(thing: Any, *path: str) -> Any:
    """What the driver keeps to itself, by its path of attributes; None where a version has it elsewhere.

    What every query asks for has a function of its own, which takes a tenth of the time.
    """
    for name in path:
        thing = getattr(thing, name, None)
    return thing


def endpoint_of_driver(driver: Any) -> Endpoint:
    """Where a driver connects to."""
    return private(driver, "_pool", "address"), None


def endpoint_of_session(session: Any) -> Endpoint:
    """Where the queries of a session go."""
    try:
        return session._pool.address, session._config.database
    except AttributeError:
        return None, None


def endpoint_of_transaction(transaction: Any) -> Endpoint:
    """Where the queries of a transaction go."""
    # Transactions have no attribute for their session; it is the object of the bound method in ``_on_closed``.
    try:
        return transaction._on_closed.__self__._pool.address, transaction._database
    except AttributeError:
        return None, None


def auto_result(session: Any) -> Any:
    """The result of the query that a session has run outside transactions, until all of it is there."""
    return getattr(session, "_auto_result", None)


Followed = tuple["Callable[[], Any]", "Callable[[Any], Any]", "Callable[[], Any]", dict[str, Any]]


def followed(result: Any) -> Followed | None:
    """How to follow a result that is being sent; None: it is not being sent, or this version does not let us.

    Returns:
        Whom it tells that it is closed, and that it has failed, what fetches its messages, and where to put what does
        so instead.
    """
    try:
        if result._attached is not True or result._streaming is None:
            return None
        handle = result._connection
        return result._on_closed, result._on_error, handle.fetch_message, handle.__dict__
    except AttributeError:
        return None


def owner_of(result: Any) -> Any:
    """Whom a result tells that it is closed."""
    try:
        return result._on_closed.__self__
    except AttributeError:
        return None


def summary_of(result: Any) -> tuple[dict[str, Any], str | None]:
    """What the server has said of a result so far, and the database that it is from."""
    try:
        metadata, database = result._metadata, result._database
    except AttributeError:
        return {}, None
    return metadata if type(metadata) is dict else {}, database if isinstance(database, str) else None
