"""valkey-py: the fork of redis-py 5 that speaks to Valkey. What is traced, and how, is what the redis patch says.

The two drivers are apart: each has its own options, its own state in ``status()``, and neither needs the other.

``db.system.name`` is ``redis`` here too. The conventions know no ``valkey``, theirs for Redis say what compatible
databases do, and a driver cannot tell one server from the other: most programs use Valkey by redis-py.

Options: :class:`ValkeyOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from causal_otel.patches.redis import RedisOptions
from causal_otel.patches.redis.declaration import patch

__all__ = ["PATCH", "ValkeyOptions"]


@dataclass(frozen=True, kw_only=True)
class ValkeyOptions(RedisOptions):
    """Options of the valkey patch: those of :class:`~causal_otel.patches.redis.RedisOptions`."""


PATCH = patch("valkey", ("6", "7"), ValkeyOptions)
