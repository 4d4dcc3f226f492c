"""Where the slow demo's services find each other: variables such as ``SLOW_POSTGRES_URL``."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields

__all__ = ["SlowConfig"]

_PREFIX = "SLOW_"


@dataclass(frozen=True, kw_only=True)
class SlowConfig:
    """The addresses.

    Args:
        postgres_url: of the database.
        relay_port: a port of 127.0.0.1 by which the same database is reached late.
        redis_url: of the cache, which is Celery's broker too.
        external_url: of somebody else's HTTP service.
    """

    postgres_url: str
    relay_port: int
    redis_url: str
    external_url: str

    @classmethod
    def load(cls) -> SlowConfig:
        """Read the process's environment."""
        found = {field.name: os.environ[_PREFIX + field.name.upper()] for field in fields(cls)}
        return cls(**{**found, "relay_port": int(found["relay_port"])})  # type: ignore[arg-type]

    def environment(self) -> dict[str, str]:
        """The variables that :meth:`load` reads."""
        return {_PREFIX + name.upper(): str(value) for name, value in asdict(self).items()}
