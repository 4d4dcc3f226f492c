"""A shop asks all of its suppliers at once, and offers the best price."""

from __future__ import annotations

import asyncio

import httpx
from fastapi import FastAPI, HTTPException, Request

import causal_otel

__all__ = ["app"]

causal_otel.install()  # reads pyproject.toml

app = FastAPI(title="Shop")

PRICES = {"north": {1: 9.90, 2: 24.50}, "south": {1: 8.75}}


@app.get("/offers/{article}")
async def best_offer(article: int, request: Request) -> float:
    """The lowest price of an article."""
    try:
        async with httpx.AsyncClient(base_url=str(request.base_url)) as client, asyncio.TaskGroup() as group:
            asked = [group.create_task(ask(client, supplier, article)) for supplier in PRICES]
    except ExceptionGroup as failed:
        raise HTTPException(502, "a supplier has no price") from failed
    with causal_otel.span("choose an offer", {"offers": len(asked)}):
        return min(task.result() for task in asked)


async def ask(client: httpx.AsyncClient, supplier: str, article: int) -> float:
    """Ask a supplier for a price."""
    answer = await client.get(f"/suppliers/{supplier}/prices/{article}")
    price: float = answer.raise_for_status().json()
    return price


@app.get("/suppliers/{supplier}/prices/{article}")
async def price(supplier: str, article: int) -> float:
    """Stands for another company's service, which takes its time."""
    await asyncio.sleep(0.02)
    return PRICES[supplier][article]


@app.get("/health")
async def health() -> str:
    """Asked every few seconds, and excluded from tracing."""
    return "well"
