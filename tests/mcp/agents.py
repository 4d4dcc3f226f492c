"""Agents: the official client of MCP, connected to a server that is a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent, Tool

from causal_otel.collector.mcp.answers import MOST_BYTES, NOTICE
from tests.faults.programs import environment

__all__ = ["COMMAND", "TOKEN", "Agent", "files_of", "over_http", "over_stdio", "without_notice"]

TOKEN = "a-token-for-agents"

COMMAND = (sys.executable, "-m", "causal_otel", "mcp")


class Agent:
    """A connection of the official client, whose event loop runs in a thread of its own."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self._portal = portal
        self._client = client

    @property
    def version(self) -> str:
        """The revision of the protocol that was agreed on."""
        return str(self._client.session.protocol_version)

    @property
    def instructions(self) -> str:
        """What the server tells at first."""
        return self._client.instructions or ""

    def tools(self) -> dict[str, Tool]:
        """What the server offers."""
        return {tool.name: tool for tool in self._portal.call(self._client.list_tools).tools}

    def said(self, tool: str, **arguments: Any) -> tuple[str, bool]:
        """The text of an answer, and whether it is an error."""
        result = self._portal.call(self._client.call_tool, tool, arguments)
        (content,) = result.content
        assert isinstance(content, TextContent)
        return content.text, bool(result.is_error)

    def text(self, tool: str, **arguments: Any) -> str:
        """The text of an answer that is no error, and not longer than any may be."""
        text, is_error = self.said(tool, **arguments)
        assert not is_error, text
        assert len(text.encode()) <= MOST_BYTES
        return text

    def ask(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What an answer says, below its notice."""
        return without_notice(self.text(tool, **arguments))

    def refused(self, tool: str, **arguments: Any) -> str:
        """What is said of a call that cannot be answered."""
        text, is_error = self.said(tool, **arguments)
        assert is_error, text
        return text

    def pages(self, tool: str, title: str, **arguments: Any) -> list[list[dict[str, Any]]]:
        """All pages of a list, each the rows of its answer."""
        pages: list[list[dict[str, Any]]] = []
        cursor: dict[str, str] = {}
        while True:
            answer = self.ask(tool, **arguments, **cursor)
            pages.append(answer[title])
            if "next_cursor" not in answer:
                return pages
            assert answer["left_out"]
            cursor = {"cursor": answer["next_cursor"]}


def without_notice(text: str) -> dict[str, Any]:
    """An answer's document, which begins with the notice."""
    document: dict[str, Any] = json.loads(text)
    assert next(iter(document.items())) == ("notice", NOTICE)
    del document["notice"]
    return document


@contextlib.contextmanager
def over_stdio(*options: str, log: Path, mode: str = "auto", **variables: str) -> Iterator[Agent]:
    """An agent that has started ``causal-otel mcp``, whose stderr goes to ``log``."""
    given = {**environment(), **variables}
    parameters = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], *options], env=given)
    with log.open("a") as errors, _connected(lambda: Client(stdio_client(parameters, errors), mode=mode)) as agent:
        yield agent


@contextlib.contextmanager
def over_http(url: str, headers: Mapping[str, str], *, mode: str = "auto") -> Iterator[Agent]:
    """An agent that talks to a collector's ``/mcp``."""

    @asynccontextmanager
    async def client() -> AsyncIterator[Client]:
        async with (
            httpx2.AsyncClient(headers=dict(headers), trust_env=False, timeout=120) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as found,
        ):
            yield found

    with _connected(client) as agent:
        yield agent


@contextlib.contextmanager
def _connected(client: Any) -> Iterator[Agent]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(portal.call(client)) as found:
        yield Agent(portal, found)


def files_of(directory: Path) -> dict[str, tuple[int, int]]:
    """What is in a directory: each file's size and when it was written to.

    SQLite keeps two companions beside a file that it reads: they are left out.
    """
    return {
        os.fspath(file.relative_to(directory)): (file.stat().st_size, file.stat().st_mtime_ns)
        for file in directory.rglob("*")
        if file.is_file() and not file.name.endswith(("-wal", "-shm"))
    }
