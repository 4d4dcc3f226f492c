"""What OpenTelemetry calls its instrumentations of what patches of ours trace."""

from __future__ import annotations

__all__ = ["PREFIX", "REPLACED", "normal", "patch_for", "short"]

PREFIX = "opentelemetry-instrumentation-"
"""What the distributions of instrumentors begin with."""

REPLACED: dict[str, str] = {
    "aiohttp-client": "aiohttp",
    "aiokafka": "aiokafka",
    "asgi": "asgi",
    "asyncpg": "asyncpg",
    "celery": "celery",
    "fastapi": "asgi",
    "grpc-aio-client": "grpc",
    "grpc-aio-server": "grpc",
    "httpx": "httpx",
    "httpx2": "httpx",
    "logging": "logs",
    "psycopg": "psycopg",
    "redis": "redis",
    "sqlalchemy": "sqlalchemy",
    "starlette": "asgi",
    "taskiq": "taskiq",
    "threading": "threads",
}
"""By entry point or distribution: our patch that traces the same. ``logs`` is no patch, but the setting. A patch of
another package that is called as the entry point is not here, and takes its place all the same."""


def patch_for(name: str) -> str:
    """Our name of what OpenTelemetry calls so, in its variables and files; the name itself where ours is no other."""
    return REPLACED.get(normal(name), name)


def normal(name: str) -> str:
    """A name as it is compared: of a distribution or an entry point."""
    return name.strip().lower().replace("_", "-").replace(".", "-")


def short(name: str) -> str:
    """The same, without what the distributions of instrumentors begin with."""
    return normal(name).removeprefix(PREFIX)
