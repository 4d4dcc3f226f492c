"""Rules for the sampler with the same in words for people, and the default rules without a strategies file."""

from __future__ import annotations

import re
from typing import NamedTuple

from opentelemetry.trace import SpanKind

from causal_otel.engine.samplers import Rule, Rules, Share
from causal_otel.names import HTTP_REQUEST_METHOD, RPC_METHOD, URL_PATH

__all__ = ["Described", "default_rules", "share_of_all", "shown"]

_HEALTH_SHARE = 0.1
_HEALTH_PATHS = (
    "/health",
    "/healthz",
    "/healthcheck",
    "/health-check",
    "/health/live",
    "/health/ready",
    "/ready",
    "/readyz",
    "/readiness",
    "/live",
    "/livez",
    "/liveness",
    "/ping",
    "/metrics",
    "/-/healthy",
    "/-/ready",
)
_HEALTH_METHOD = "grpc.health.v1.Health/Check"


class Described(NamedTuple):
    """What a source of strategies says to this service.

    Args:
        rules: for the sampler.
        words: the same for people, in order; the last one is about everything else.
        warnings: what was left out.
    """

    rules: Rules
    words: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def default_rules() -> Described:
    """Without anybody's strategies: everything, and of health checks one in ten."""
    paths = re.compile(f"(?:{'|'.join(map(re.escape, _HEALTH_PATHS))})/?")
    health = Rule(
        Share(_HEALTH_SHARE),
        attributes={URL_PATH: paths, HTTP_REQUEST_METHOD: re.compile("GET|HEAD")},
        kind=SpanKind.SERVER,
    )
    rpc = Rule(
        Share(_HEALTH_SHARE), attributes={RPC_METHOD: re.compile(re.escape(_HEALTH_METHOD))}, kind=SpanKind.SERVER
    )
    said = f"health checks ({', '.join((*_HEALTH_PATHS, _HEALTH_METHOD))}): {shown(_HEALTH_SHARE)}"
    return Described(Rules((health, rpc), Share(1.0)), (said, f"else: {shown(1.0)}"))


def share_of_all(share: float) -> Described:
    """A share of everything."""
    return Described(Rules((), Share(share)), (f"else: {shown(share)}",))


def shown(share: float) -> str:
    """A share for people."""
    if share in (0, 1):
        return "everything" if share else "nothing"
    return f"{share * 100:.6g} %"
