"""Where the demo's services find each other: read from their environment, written into it by the command."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, fields

__all__ = ["Config"]

_PREFIX = "DEMO_"


@dataclass(frozen=True, kw_only=True)
class Config:
    """The addresses; each is a variable such as ``DEMO_POSTGRES_URL``."""

    postgres_url: str
    redis_url: str
    neo4j_url: str
    neo4j_user: str
    neo4j_password: str = field(repr=False)
    scoring_url: str

    @classmethod
    def load(cls) -> Config:
        """Read the process's environment."""
        return cls(**{field.name: os.environ[_PREFIX + field.name.upper()] for field in fields(cls)})

    def environment(self) -> dict[str, str]:
        """The variables that :meth:`load` reads."""
        return {_PREFIX + name.upper(): value for name, value in asdict(self).items()}
