"""A service for the dashboards: twice a second a request that queries, calls, sends a task and fails now and then.

    python -m tests.interop.shop_app                               # the API, and who calls it
    celery -A tests.interop.shop_app worker --pool solo            # who runs the tasks

Both run until SIGTERM. Databases come from SHOP_POSTGRES and CELERY_BROKER_URL; where traces and metrics go is for
OTEL_* to say.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

import asyncpg
import httpx
from celery import Celery
from fastapi import FastAPI, HTTPException

import causal_otel

__all__ = ["app"]

# Before the FastAPI below is made, and in the worker too: both are patched.
_installed = causal_otel.install(patches=["asgi", "asyncpg", "celery", "httpx"])

app = Celery("shop", set_as_current=False)
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ.get("OTEL_SERVICE_NAME", "shop"),
    task_ignore_result=True,
    worker_hijack_root_logger=False,
)
_api = FastAPI()


@app.task(name="shop.charge")
def charge(order: int) -> None:
    """Fails for every other order."""
    if order % 2:
        raise ValueError("no money")


@_api.get("/orders/{order}")
async def orders(order: int) -> int:
    """Look the order up, and have it paid; ask a pool in vain for a second connection meanwhile."""
    pool = _api.state.pool
    try:
        async with pool.acquire() as connection:
            with suppress(TimeoutError):
                await pool.acquire(timeout=0.01)
            rows = await connection.fetch("SELECT generate_series(1, 3) / $1::int", order % 2)
    except asyncpg.DivisionByZeroError as error:
        raise HTTPException(500) from error
    finally:
        await asyncio.to_thread(charge.delay, order)
    return len(rows)


async def _shop() -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    order = 0
    transport = httpx.ASGITransport(_api)
    async with (
        # A connection of it serves four queries: so connecting has a rate.
        asyncpg.create_pool(os.environ["SHOP_POSTGRES"], min_size=1, max_size=1, max_queries=4) as _api.state.pool,
        httpx.AsyncClient(transport=transport, base_url="http://shop.test") as client,
    ):
        while not stopped.is_set():
            order += 1
            await client.get(f"/orders/{order}")
            try:
                await asyncio.wait_for(stopped.wait(), 0.5)
            except TimeoutError:
                continue


if __name__ == "__main__":
    asyncio.run(_shop())
    _installed.uninstall()
