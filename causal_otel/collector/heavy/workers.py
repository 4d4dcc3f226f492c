"""The processes that answer heavy requests: one is ready while pages are looked at, others are started when needed.

They are ended when idle, and killed when too slow.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

__all__ = ["Answer", "CannotStart", "WorkerLost", "Workers"]

_START_SECONDS = 30.0
_BUFFER = 1 << 20
_NICE = 5
"""Whoever sends spans goes first, while modules are imported as well."""
_PROGRAM = f"import os, sys; os.nice({_NICE}); from causal_otel.collector.heavy.worker import main; main(sys.argv[1])"


class CannotStart(Exception):
    """No process can be started here."""


class WorkerLost(Exception):
    """The process has ended without an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Workers:
    """Workers over the store of a directory, for one event loop.

    Args:
        directory: of the store.
        most: how many at the same time; others wait.
        seconds: how long a request may take, with its wait for a worker; the one that works on it is killed then.
        idle_seconds: how long a worker stays that nobody needs. It keeps the large traces that it has read last.
        ready_seconds: how long one is ready after :meth:`be_ready`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        most: int | None = None,
        seconds: float = 60.0,
        idle_seconds: float = 60.0,
        ready_seconds: float = 600.0,
    ) -> None:
        self.seconds = seconds
        self._directory = directory
        self._idle_seconds = idle_seconds
        self._ready_seconds = ready_seconds
        self._ready_until = 0.0
        self._starting: asyncio.Task[None] | None = None
        self._room = asyncio.Semaphore(most or min(2, os.cpu_count() or 1))
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        """End all of them."""
        self._ready_until = 0.0
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        for worker in list(self._all):
            worker.kill()
        await asyncio.gather(*(worker.ended for worker in list(self._all)), return_exceptions=True)

    @property
    def pids(self) -> list[int]:
        """The processes that there are."""
        return sorted(worker.pid for worker in self._all)

    def be_ready(self) -> None:
        """Have a worker ready for some time: to start one takes as long as a large page, and somebody looks at pages.

        It returns at once. If the worker ends meanwhile, another one takes its place.
        """
        self._ready_until = asyncio.get_running_loop().time() + self._ready_seconds
        self._start_beforehand()

    async def answer(self, request: Mapping[str, Any], key: str) -> Answer:
        """What a worker answers. If the caller is cancelled, the worker is killed.

        Args:
            request: what :mod:`.worker` understands.
            key: of requests with the same one, a worker that has answered the last is the best.

        Raises:
            CannotStart: There is none, and none can be started.
            TimeoutError: It has taken too long.
            WorkerLost: It has died.
        """
        async with asyncio.timeout(self.seconds), self._room:
            worker = await self._worker(key)
            try:
                answer = await worker.ask(request)
            except BaseException:
                worker.kill()
                raise
            worker.key = key
            self._rest(worker)
            return answer

    async def _worker(self, key: str) -> _Worker:
        if self._starting is not None and not self._idle:
            await asyncio.wait([self._starting])
        return self._take(key) or await self._start()

    def _take(self, key: str) -> _Worker | None:
        """One that is idle, and alive: best of all the one that knows."""
        while self._idle:
            worker = next((each for each in self._idle if each.key == key), self._idle[-1])
            self._idle.remove(worker)
            worker.wake()
            if worker.is_alive:
                return worker
        return None

    def _rest(self, worker: _Worker) -> None:
        """Have it be one of those that are idle."""
        self._idle.append(worker)
        self._let_rest(worker)

    def _let_rest(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        # What has not answered yet is small.
        seconds = self._idle_seconds if worker.key else self._ready_until - loop.time()
        worker.timer = loop.call_later(max(0.0, seconds), self._rested, worker)

    def _rested(self, worker: _Worker) -> None:
        if not worker.key and asyncio.get_running_loop().time() < self._ready_until:
            self._let_rest(worker)
            return
        self._idle.remove(worker)
        worker.kill()

    def _ended(self, worker: _Worker) -> None:
        self._all.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
            worker.wake()
        if worker.key:  # else it has ended of itself, as the next one might
            self._start_beforehand()

    def _start_beforehand(self) -> None:
        """Start one, if one is to be ready and there is none."""
        due = asyncio.get_running_loop().time() < self._ready_until
        if due and not self._all and self._starting is None:
            self._starting = asyncio.ensure_future(self._started_beforehand())

    async def _started_beforehand(self) -> None:
        try:
            self._rest(await self._start())
        except CannotStart:  # the next request tries again, and is told why
            self._ready_until = 0.0
        finally:
            self._starting = None

    async def _start(self) -> _Worker:
        command = (sys.executable, "-c", _PROGRAM, str(self._directory))
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_BUFFER
            )
        except OSError as error:
            raise CannotStart(str(error)) from error
        worker = _Worker(process)
        self._all.add(worker)
        worker.ended.add_done_callback(lambda _: self._ended(worker))
        try:
            async with asyncio.timeout(_START_SECONDS):
                await worker.is_ready()
        except (WorkerLost, TimeoutError) as error:
            worker.kill()
            raise CannotStart(str(error) or f"it was not ready after {_START_SECONDS:g} s") from error
        except BaseException:
            worker.kill()
            raise
        return worker


class _Worker:
    """A process, and what it has answered last."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.key = ""
        self.pid = process.pid
        self.ended = asyncio.ensure_future(process.wait())
        self._process = process
        self._requests, self._answers = process.stdin, process.stdout
        self.timer: asyncio.TimerHandle | None = None

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def is_ready(self) -> None:
        """Return once it takes requests."""
        if not await self._answers.readline():
            raise WorkerLost(f"it ended with status {await self.ended}")

    async def ask(self, request: Mapping[str, Any]) -> Answer:
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
            await self._requests.drain()
            head = json.loads(await self._answers.readuntil(b"\n"))
            body = await self._answers.readexactly(head["length"])
        except (OSError, asyncio.IncompleteReadError) as error:
            raise WorkerLost(f"it ended with status {await self.ended}") from error
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head["headers"]]
        return Answer(head["status"], headers, body)

    def wake(self) -> None:
        """Be idle no more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def kill(self) -> None:
        """End it, whatever it is doing."""
        self.wake()
        self._requests.close()
        with suppress(ProcessLookupError):
            self._process.kill()
