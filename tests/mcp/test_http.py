"""``/mcp`` of a collector: who may ask, and what is answered besides the tools."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp_types.version import LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION

from causal_otel._internal.extras import how_to_install
from causal_otel.collector.store import days
from causal_otel.collector.store.compaction import is_due
from causal_otel.testing.process import claim_port
from tests.cli.storing import ORDER, REPORT, keep
from tests.collector.running import Running, running
from tests.mcp.agents import TOKEN, Agent, files_of, over_http, without_notice
from tests.mcp.traces import TIME
from tests.waiting import wait_until
from tests.without_packages import COMMAND as WITHOUT

_HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
_BEARER = {"authorization": f"Bearer {TOKEN}"}


def _call(collector: Running, name: str = "why", method: str = "POST", **headers: str) -> httpx.Response:
    """A call of a tool, without the official client."""
    call = {"name": name, "arguments": {"trace_id": ORDER}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    given = {**_HEADERS, **{key.replace("_", "-"): value for key, value in headers.items()}}
    return httpx.request(method, f"{collector.pages}/mcp", json=message, headers=given, trust_env=False, timeout=120)


def _explanation(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    (content,) = response.json()["result"]["content"]
    return without_notice(content["text"])


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}, {"x_causal_otel_token": "wrong"}]
)
def test_the_token_is_needed(collector: Running, headers: dict[str, str]) -> None:
    """Without it, or with a wrong one, the answer is 401, and nothing is told."""
    response = _call(collector, **headers)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert ORDER not in response.text


@pytest.mark.parametrize("headers", [_BEARER, {"x_causal_otel_token": TOKEN}])
def test_the_token_opens(collector: Running, headers: dict[str, str]) -> None:
    """In either header that the collector takes it in."""
    assert _explanation(_call(collector, **headers))["trace_id"] == ORDER


def test_an_agent_without_the_token_is_told(collector: Running) -> None:
    """The official client fails to connect."""
    with pytest.raises(BaseExceptionGroup) as failed, over_http(collector.pages, {}):
        pass
    assert "Server returned an error response" in str([*_leaves(failed.value)])


def _leaves(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [str(error)]


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"host": "evil.example"}, "'evil.example' is not a name of this collector"),
        ({"host": "evil.example:16686"}, "is not a name of this collector"),
        ({"origin": "http://evil.example"}, "pages of other sites may not send this"),
        ({"origin": "null"}, "pages of other sites may not send this"),
    ],
)
def test_pages_of_other_sites_are_kept_out(collector: Running, headers: dict[str, str], said: str) -> None:
    """By their name, should they have been given ours, and by their origin, as elsewhere; also with the token."""
    response = _call(collector, **_BEARER, **headers)
    assert response.status_code == 403
    assert said in response.text


def test_a_form_of_another_kind_is_refused(collector: Running) -> None:
    """What a page can send without asking first, such as plain text, is not taken for a call."""
    response = _call(collector, **_BEARER, content_type="text/plain")
    assert response.status_code in (400, 415)


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_there_is_nothing_to_stream_and_nothing_to_end(collector: Running, method: str) -> None:
    """Sessions are not kept: what asks for a stream or ends a session is answered 405, as the protocol has it."""
    response = _call(collector, method=method, **_BEARER)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


def test_large_requests_are_refused(collector: Running) -> None:
    """Arguments are short, so a body of more than 64 KiB is not read."""
    response = httpx.post(
        f"{collector.pages}/mcp",
        content=b" " * (64 * 1024 + 1),
        headers={**_HEADERS, **_BEARER},
        trust_env=False,
        timeout=120,
    )
    assert response.status_code == 413


def test_older_and_newer_clients_are_answered(collector: Running, over_network: Agent) -> None:
    """With the newest revision of the protocol, and with the handshake of those before."""
    assert over_network.version == LATEST_MODERN_VERSION
    with over_http(collector.pages, _BEARER, mode="legacy") as agent:
        assert agent.version == LATEST_HANDSHAKE_VERSION
        assert agent.ask("why", trace_id=ORDER)["trace_id"] == ORDER


def test_answers_are_private(collector: Running) -> None:
    """They have the headers of the collector's other answers."""
    response = _call(collector, **_BEARER)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in response.headers


def test_a_collector_without_a_token_is_open_on_this_machine_only(tmp_path: Path) -> None:
    """As its pages are: a program of this machine may ask, a page of another site may not. It prints the address."""
    directory = keep(tmp_path / "traces")
    with running(directory, "--retention", "3650d") as collector:
        assert f"MCP:            {collector.pages}/mcp\n" in collector.process.output()
        assert _explanation(_call(collector))["trace_id"] == ORDER
        assert _call(collector, origin="http://evil.example").status_code == 403
        assert _call(collector, host="evil.example").status_code == 403


def _due(directory: Path) -> bool:
    """Whether the collector is about to compact a day, which is its own business and none of whoever asks."""
    return any(is_due(path, day, time.time()) for day, path in days.day_files(directory).items())


def test_nothing_is_written(tmp_path: Path) -> None:
    """Calls change nothing in the directory of the traces."""
    directory = keep(tmp_path / "traces")
    with running(directory, "--retention", "3650d") as collector:
        _explanation(_call(collector))
        wait_until(lambda: not _due(directory))
        before = files_of(directory)
        with over_http(collector.pages, {}) as agent:
            agent.ask("search_traces", **TIME)
            agent.ask("operations", where_time_goes=True, **TIME)
            agent.ask("errors", **TIME)
        assert files_of(directory) == before


def test_an_agent_goes_on_where_the_collector_was_restarted(tmp_path: Path) -> None:
    """There is no session that could be lost, and cursors are good in the next process."""
    directory = keep(tmp_path / "traces")
    options = ("--retention", "3650d", "--port", str(claim_port(None, "the collector")))
    with running(directory, *options) as collector, over_http(collector.pages, {}, mode="legacy") as agent:
        first = agent.ask("search_traces", limit=1, **TIME)
        collector.process.stop()
        with running(directory, *options):
            second = agent.ask("search_traces", limit=1, cursor=first["next_cursor"], **TIME)
    assert [each["traces"][0]["trace_id"] for each in (first, second)] == [REPORT, ORDER]


def test_without_the_extra_the_rest_works(tmp_path: Path) -> None:
    """The collector runs without the SDK, prints no address for it, and says at /mcp what is missing."""
    script = tmp_path / "without_mcp.py"
    script.write_text(WITHOUT)
    command = (sys.executable, str(script), "mcp mcp_types pydantic", "collector")
    with running(keep(tmp_path / "traces"), "--retention", "3650d", command=command) as collector:
        assert "MCP" not in collector.process.output()
        response = _call(collector)
        assert response.status_code == 501
        assert response.text == f"MCP is not here: mcp and mcp_types cannot be imported; {how_to_install('mcp')}\n"
        assert collector.get("/api/services").json()["data"] == ["api", "web", "worker"]
