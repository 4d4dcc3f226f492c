"""deploy/ as the tests read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["COMPOSE", "DEPLOY", "compose", "dockerfile", "interpolated"]

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = sorted(path.name for path in DEPLOY.glob("compose*.yaml"))


def compose(name: str) -> dict[str, Any]:
    """A compose file, with its anchors resolved."""
    document: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))
    return document


def dockerfile(instruction: str) -> list[str]:
    """What follows an instruction of the Dockerfile each time, with lines joined."""
    text = re.sub(r"\\\n\s*", " ", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
    return re.findall(rf"^{instruction} +(.*?) *$", text, re.MULTILINE)


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """``text`` with ``${NAME:-default}`` replaced as Compose does."""
    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", lambda found: variables.get(found[1]) or found[2] or "", text)
