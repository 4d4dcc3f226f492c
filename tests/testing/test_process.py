"""Child processes: how they start, are watched and end, and what is said of those that do not do as they should."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest

from causal_otel.testing.process import LOOPBACK, Process, ServerError, check_running, claim_port, process, workdir
from tests.testing.footprints import DEADLINE, Footprint
from tests.waiting import wait_until

_SLEEP = "import signal; print('asleep', flush=True); signal.pause()"


def test_child_that_dies_while_starting_is_reported(footprint: Footprint) -> None:
    """A child that ends before it is ready is a ServerError with its status and the end of its log."""
    script = "print('x' * 5000); print('the disk is full'); raise SystemExit(3)"
    with (
        pytest.raises(ServerError) as caught,
        process([sys.executable, "-c", script], name="Some server", ready=lambda _: False),
    ):
        pass
    message = str(caught.value)
    assert message.startswith("Some server ended while starting, with status 3.\nThe end of its log:\n")
    assert message.endswith("the disk is full")
    assert len(message) < 2200
    assert footprint.files() == []


def test_child_that_ends_by_itself_is_reported_by_whoever_looks() -> None:
    """Until a child has been found ready it ends "while starting", whichever child is being waited for; later not."""
    ends = [sys.executable, "-c", "raise SystemExit(3)"]
    with process(ends, name="Some server") as child:
        assert child.wait(timeout=30) == 3
        with pytest.raises(ServerError, match=r"\ASome server ended while starting, with status 3\."):
            check_running()
    with process([sys.executable, "-c", _SLEEP], name="Some server", ready=lambda _: True) as child:
        check_running()
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait(timeout=30) == -signal.SIGKILL
        with pytest.raises(ServerError, match=r"\ASome server ended unexpectedly, killed by SIGKILL\."):
            check_running()


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="there are no real-time signals here")
def test_signal_without_a_name_is_numbered() -> None:
    """Real-time signals have no names in Python."""
    number = signal.SIGRTMIN + 6
    with process([sys.executable, "-c", f"import os; os.kill(os.getpid(), {number})"], name="Some server") as child:
        assert child.wait(timeout=30) == -number
        with pytest.raises(ServerError, match=rf"while starting, killed by signal {number}\."):
            check_running()


def test_program_that_does_not_exist_is_reported() -> None:
    """A program that cannot be executed is a ServerError that names it."""
    with (
        pytest.raises(ServerError, match=r"(?s)ended while starting, with status 1.*/no/such/program: No such file"),
        process(["/no/such/program"], name="Some server", ready=lambda _: False),
    ):
        pass


def test_child_that_is_never_ready_is_reported_and_stopped() -> None:
    """A child that is not ready in time is a ServerError, and it is gone; an OSError of the check counts as no."""
    seen: list[Process] = []

    def never(child: Process) -> bool:
        seen.append(child)
        raise ConnectionRefusedError

    with (
        pytest.raises(ServerError, match=r"Some server was not ready within 0\.3 s\."),
        process([sys.executable, "-c", _SLEEP], name="Some server", ready=never, start_timeout=0.3) as child,
    ):
        pytest.fail(f"{child.name} counts as ready")
    assert seen
    assert not seen[0].running


def test_child_that_ignores_the_stop_signal_is_killed() -> None:
    """A child that does not end when asked to is killed after the stop timeout."""
    script = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_SLEEP}"
    with process([sys.executable, "-c", script], name="deaf", ready=_is_asleep, stop_timeout=0.2) as child:
        pass
    assert child.wait(timeout=0) == -signal.SIGKILL


class _Interrupting:
    """A lock that an interrupt follows at once when it is acquired, so that nobody is there yet to release it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def acquire(self, blocking: bool = True) -> bool:
        acquired = self._lock.acquire(blocking, 10 if blocking else -1)
        if acquired:
            signal.raise_signal(signal.SIGINT)
        return acquired

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        assert self._lock.acquire(timeout=10), "somebody holds it for ever"

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_an_interrupt_that_meets_a_lock_of_popen_stops_the_child() -> None:
    """Ctrl-C while Popen holds the lock under which it reaps, and will not release it, stops the child all the same."""

    def watch(child: Process) -> None:
        child._popen._waitpid_lock = _Interrupting()  # type: ignore[attr-defined]
        with contextlib.suppress(ServerError):
            child.wait(0.1)
        signal.raise_signal(signal.SIGINT)

    with (
        pytest.raises(KeyboardInterrupt),
        process([sys.executable, "-c", _SLEEP], name="watched", ready=_is_asleep) as child,
    ):
        watch(child)
    assert child.wait(timeout=0) == -signal.SIGTERM


def test_child_stopped_by_sigstop_ends_when_asked_to() -> None:
    """A child halted by SIGSTOP, as fault tests do, still ends by the stop signal."""
    with process([sys.executable, "-c", _SLEEP], name="halted", ready=_is_asleep) as child:
        os.kill(child.pid, signal.SIGSTOP)
    assert child.wait(timeout=0) == -signal.SIGTERM


def test_what_the_child_started_ends_with_it() -> None:
    """Processes that a child has left behind end when the block is left."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.settimeout(DEADLINE)
        port = listener.getsockname()[1]
        script = f"import os, socket; s = socket.create_connection(('{LOOPBACK}', {port})); os.fork() and os._exit(0)"
        with process([sys.executable, "-c", f"{script}; {_SLEEP}"], name="parent") as child:
            connection, _ = listener.accept()
            assert child.wait(DEADLINE) == 0
            wait_until(lambda: _is_asleep(child), "the grandchild's sleep")
        with connection:
            connection.settimeout(DEADLINE)
            assert connection.recv(1) == b""


def test_child_gets_directory_environment_and_default_signals(tmp_path: Path) -> None:
    """A child runs where and with what it is told to, logs where it is told to, and dies of SIGPIPE as usual."""
    log = tmp_path / "log"
    command = ["/bin/sh", "-c", "echo $PWD $WORD; kill -PIPE $$"]
    with process(command, name="shell", log=log, cwd=tmp_path, env={"WORD": "hello"}) as child:
        assert child.wait(DEADLINE) == -signal.SIGPIPE
    assert log.read_text() == child.output() == f"{tmp_path.resolve()} hello\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere two sockets cannot be bound to one port")
def test_claimed_port_is_given_to_nobody_else() -> None:
    """Nobody who asks for a free port gets one that is claimed; a server can listen there, and restart."""
    claimed = {claim_port(None, "test") for _ in range(8)}
    with contextlib.ExitStack() as stack:
        low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        taken = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(min(high - low, 400))]
        assert not claimed & {server.getsockname()[1] for server in taken}
    for port in claimed:
        for _ in range(2):
            with socket.create_server((LOOPBACK, port)), socket.create_connection((LOOPBACK, port), DEADLINE):
                pass


def test_program_keeps_its_own_signal_handlers() -> None:
    """SIGTERM is handled only inside the block, and only where the program has no handler of its own."""
    before = signal.getsignal(signal.SIGTERM)
    with workdir("outer"), workdir("inner"):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is before


def _is_asleep(child: Process) -> bool:
    return "asleep" in child.output()
