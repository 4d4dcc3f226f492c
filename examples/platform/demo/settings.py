"""Where the programs find what they need: in the environment, or else where ``compose.yaml`` starts it."""

from __future__ import annotations

import os

__all__ = ["NEO4J_PASSWORD", "NEO4J_URL", "NEO4J_USER", "POSTGRES_URL", "REDIS_URL", "SCORING_URL"]

POSTGRES_URL = os.environ.get("POSTGRES_URL", "postgresql://postgres:for-development@127.0.0.1:5432/postgres")
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
NEO4J_URL = os.environ.get("NEO4J_URL", "bolt://127.0.0.1:7687")
NEO4J_USER = os.environ.get("NEO4J_USER", "neo4j")
NEO4J_PASSWORD = os.environ.get("NEO4J_PASSWORD", "for-development")
SCORING_URL = os.environ.get("SCORING_URL", "http://127.0.0.1:8001")
