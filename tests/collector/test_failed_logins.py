"""Wrong tokens are answered later and later; right ones never are."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from causal_otel.collector.failed_logins import FailedLogins
from causal_otel.collector.security import TOO_MANY, Access
from causal_otel.collector.tokens import Tokens
from tests.collector.guarded import TOKEN, guarded_app
from tests.collector.running import running

_LATE = 0.2


def _client(failed: FailedLogins, address: str = "10.1.2.3") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(guarded_app(Access(Tokens(TOKEN), failed_logins=failed)), client=(address, 4711))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", trust_env=False)


async def _seconds(client: httpx.AsyncClient, **headers: str) -> tuple[int, float]:
    began = time.monotonic()
    answer = await client.get("/", headers=headers)
    return answer.status_code, time.monotonic() - began


@pytest.mark.asyncio
async def test_a_wrong_token_waits_longer_each_time() -> None:
    """Each wrong token waits twice as long as the one before; a right one in between does not wait, nor none at all."""
    failed = FailedLogins(first=_LATE)
    async with _client(failed) as client:
        for delay in (_LATE, 2 * _LATE):
            assert failed.delay("10.1.2.3") == delay
            status, took = await _seconds(client, authorization="Bearer wrong")
            assert status == 401
            assert took >= delay
        assert (await client.get("/", headers={"authorization": f"Bearer {TOKEN}"})).status_code == 200
        assert (await client.get("/")).status_code == 401
        assert failed.delay("10.1.2.3") == 4 * _LATE  # none of these has counted
        assert failed.delay("10.1.2.4") == _LATE


@pytest.mark.asyncio
async def test_the_form_is_slowed_with_the_header() -> None:
    """Form and header count together, a right login begins anew, and no header says where somebody is."""
    failed = FailedLogins(first=_LATE)
    async with _client(failed) as client:
        began = time.monotonic()
        answer = await client.post("/login", data={"token": "wrong"}, headers={"x-forwarded-for": "8.8.8.8"})
        assert time.monotonic() - began >= _LATE
        assert (answer.status_code, "That is not the token." in answer.text) == (401, True)
        assert failed.delay("10.1.2.3") == 2 * _LATE
        assert (await client.post("/login", data={"token": TOKEN})).status_code == 303
        assert failed.delay("10.1.2.3") == _LATE


@pytest.mark.asyncio
async def test_many_at_once_are_not_looked_at() -> None:
    """While many wrong tokens of an address wait, its next one is refused, right or wrong; other addresses are not."""
    failed = FailedLogins(first=30.0, longest=30.0)
    async with _client(failed) as client, _client(failed, "10.9.9.9") as other:
        waiting = [asyncio.create_task(_seconds(client, authorization="Bearer wrong")) for _ in range(32)]
        async with asyncio.timeout(20):
            while not failed.busy("10.1.2.3"):  # noqa: ASYNC110  # the tasks have to get there
                await asyncio.sleep(0)
        for token in ("wrong", TOKEN):
            answer = await client.get("/", headers={"authorization": f"Bearer {token}"})
            assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (429, f"{TOO_MANY}\n", "5")
            answer = await client.post("/login", data={"token": token})
            assert (answer.status_code, TOO_MANY in answer.text) == (429, True)
        assert (await other.get("/", headers={"authorization": f"Bearer {TOKEN}"})).status_code == 200
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert not failed.busy("10.1.2.3")


@pytest.mark.asyncio
async def test_memory_is_bounded() -> None:
    """Of very many addresses the oldest are forgotten, and each after a while."""
    failed = FailedLogins(first=0, forget=0)
    for number in range(5000):
        await failed.failed(str(number))
    assert len(failed) == 4096
    slow = FailedLogins(first=0.001, forget=0)
    for _ in range(3):
        await slow.failed("a")
    await asyncio.sleep(0.01)
    assert slow.delay("a") == 0.001


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer wrong", "accept": "text/html"},
        {"cookie": "causal-otel-12345678=wrong"},
        {"cookie": "causal-otel-12345678=wrong", "accept": "text/html"},
    ],
)
async def test_every_way_to_guess_is_slowed(headers: dict[str, str]) -> None:
    """A token beside Accept: text/html, and a cookie that is made of a guessed token, wait like any wrong token."""
    failed = FailedLogins(first=_LATE)
    async with _client(failed) as client:
        status, took = await _seconds(client, **headers)
    assert status == (303 if "accept" in headers else 401)
    assert took >= _LATE
    assert failed.delay("10.1.2.3") == 2 * _LATE


def test_no_header_says_who_a_client_is(tmp_path: Path) -> None:
    """The collector's servers do not take a client's address from X-Forwarded-For, not even from this machine."""
    with running(tmp_path, environ={"CAUSAL_OTEL_COLLECTOR_TOKEN": TOKEN}) as collector:
        for number, delay in enumerate((0.25, 0.5, 1.0)):
            began = time.monotonic()
            answer = collector.get("/", authorization="Bearer wrong", x_forwarded_for=f"10.0.0.{number}")
            assert answer.status_code == 401
            assert time.monotonic() - began >= delay
