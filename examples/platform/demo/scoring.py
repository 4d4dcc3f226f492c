"""Another HTTP service, ``demo-scoring``: somebody else's model behind ``POST /v1/score``, on Starlette."""

from __future__ import annotations

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import causal_otel

__all__ = ["app"]

causal_otel.install(service_name="demo-scoring")


async def score(request: Request) -> JSONResponse:
    """The mean of the evidence, after some thought."""
    evidence: dict[str, float] = await request.json()
    await anyio.sleep(0.03)
    return JSONResponse({"risk": sum(evidence.values()) / max(1, len(evidence))})


app = Starlette(routes=[Route("/v1/score", score, methods=["POST"])])
