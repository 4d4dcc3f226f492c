"""Child processes that never outlive the block they were started in, and what goes with them.

Start them from a thread that outlives them: Linux counts the end of that thread as the end of the parent.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pwd

__all__ = [
    "LOOPBACK",
    "Process",
    "ServerError",
    "check_running",
    "claim_port",
    "give_to",
    "http_status",
    "java_environment",
    "process",
    "workdir",
]

LOOPBACK = "127.0.0.1"

_POLL_SECONDS = 0.02
_under_way: list[Process] = []  # those whose block is open
_TAIL_CHARACTERS = 2000
_MOST_CLAIMS = 64
_claims: deque[int] = deque()  # descriptors of the sockets by which we hold ports, of the latest

# Every child begins as this small program, which then becomes the server. Done here and not in a preexec_fn, because
# that would fork, and so run the fork hooks of everything loaded (ours among them), in a process full of threads.
_LAUNCHER = """\
import os, signal, sys
if sys.platform == "linux":
    import ctypes
parent, death_signal, uid, gid, *command = sys.argv[1:]
if int(uid) >= 0:
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
if sys.platform == "linux":
    # PR_SET_PDEATHSIG: what to send when the parent dies. Set after setuid, which clears it; it survives exec.
    ctypes.CDLL(None).prctl(1, ctypes.c_ulong(int(death_signal)))
    if os.getppid() != int(parent):
        sys.exit("the parent process has ended")
for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(ignored_by_python, signal.SIG_DFL)
try:
    os.execvp(command[0], command)
except OSError as error:
    sys.exit(f"{command[0]}: {error.strerror}")
"""


class ServerError(RuntimeError):
    """A server could not be started: one sentence why, then the end of its log."""

    def __init__(self, sentence: str, output: str = "") -> None:
        tail = output[-_TAIL_CHARACTERS:]
        if len(output) > len(tail):
            tail = tail.partition("\n")[2] or tail  # whole lines, where there are any
        tail = tail.strip()
        super().__init__(f"{sentence}\nThe end of its log:\n{tail}" if tail else sentence)


class Process:
    """A child process under way, as :func:`process` yields it."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._popen = popen
        self._has_been_ready = False

    @property
    def pid(self) -> int:
        """Its process id, which is its process group's and its session's id as well."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._status() is None

    def _status(self) -> int | None:
        """Its exit status, or None while it runs.

        Looked up without reaping it, so until :meth:`stop` its process id is nobody else's. Popen's own ``poll()`` and
        ``wait()`` would not do: interrupted in the middle they leave their lock held, and every later one is for ever.
        """
        if self._popen.returncode is not None:
            return self._popen.returncode
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def output(self) -> str:
        """All it has written to stdout and stderr so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait(self, timeout: float) -> int:
        """Wait until it ends.

        Args:
            timeout: in seconds.

        Returns:
            Its exit status; minus the signal's number when a signal ended it.

        Raises:
            ServerError: It is still running after ``timeout``.
        """
        deadline = time.monotonic() + timeout
        while (status := self._status()) is None:
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} has not ended within {timeout:g} s.", self.output())
            time.sleep(_POLL_SECONDS)
        return status

    def check(self) -> None:
        """Look whether it is still running.

        Raises:
            ServerError: It has ended by itself: while starting when nobody has found it ready yet, else unexpectedly.
        """
        status = self._status()
        if status is None:
            return
        how = f"killed by {_signal_name(-status)}" if status < 0 else f"with status {status}"
        when = "unexpectedly" if self._has_been_ready else "while starting"
        raise ServerError(f"{self.name} ended {when}, {how}.", self.output())

    def wait_until_ready(self, ready: Callable[[Process], bool], timeout: float) -> None:
        """Ask ``ready`` again and again until it says yes; an OSError counts as no.

        Raises:
            ServerError: It ends before it is ready, or is not ready after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            with contextlib.suppress(OSError):
                if ready(self):
                    self._has_been_ready = True
                    return
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} was not ready within {timeout:g} s.", self.output())
            time.sleep(_POLL_SECONDS)

    def stop(self, stop_signal: signal.Signals = signal.SIGTERM, timeout: float = 15.0) -> None:
        """End it: ``stop_signal``, then after ``timeout`` seconds SIGKILL, to all of its process group."""
        try:
            if self.running:
                os.kill(self.pid, stop_signal)
                os.kill(self.pid, signal.SIGCONT)  # a process stopped by SIGSTOP would not see the other one
                self.wait(timeout)
        except ServerError:
            pass  # it is killed
        finally:
            with _interrupts_held():
                # Also what the child has started itself and left behind. macOS says EPERM where Linux says ESRCH.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
                self._popen.wait()


@contextlib.contextmanager
def process(
    command: Sequence[str | os.PathLike[str]],
    *,
    name: str,
    ready: Callable[[Process], bool] | None = None,
    log: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    start_timeout: float = 60.0,
    stop_timeout: float = 15.0,
    stop_signal: signal.Signals = signal.SIGTERM,
    death_signal: signal.Signals = signal.SIGKILL,
) -> Iterator[Process]:
    """Run a child process for as long as the block lasts.

    It has a session of its own, so that Ctrl-C reaches us alone and children end in the order we end them. On Linux
    the kernel ends it when we die without leaving the block.

    Args:
        command: program and arguments; a program without a slash is looked up in PATH.
        name: how errors call it.
        ready: tells whether the child is ready, within a second or so; None: it is not waited for.
        log: where its stdout and stderr go; None: a temporary file.
        cwd: its working directory; None: ours.
        env: its whole environment; None: ours.
        user: the user to run as, which takes root; None: ours.
        start_timeout: seconds until it must be ready.
        stop_timeout: seconds between ``stop_signal`` and SIGKILL.
        stop_signal: what asks it to end.
        death_signal: what the kernel sends it when we die.

    Raises:
        ServerError: It ends before it is ready, or is not ready in time.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_termination_as_interrupt())
        path = stack.enter_context(workdir(name)) / "output.log" if log is None else log
        owner = _account(user) if user else None
        ids = (os.getpid(), int(death_signal), owner.pw_uid if owner else -1, owner.pw_gid if owner else -1)
        child: Process | None = None
        try:
            with _interrupts_held(), path.open("wb") as output:
                popen = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _LAUNCHER, *map(str, ids), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env=env,
                    start_new_session=True,
                )
                child = Process(name, popen, path)
                _under_way.append(child)
            if ready is not None:
                child.wait_until_ready(ready, start_timeout)
            yield child
        finally:
            if child is not None:
                _under_way.remove(child)
                child.stop(stop_signal, stop_timeout)


def check_running() -> None:
    """Look whether every process of an open :func:`process` block is still running.

    Raises:
        ServerError: One of them has ended by itself, as :meth:`Process.check` says.
    """
    for child in tuple(_under_way):
        child.check()


@contextlib.contextmanager
def workdir(label: str, *, user: str | None = None) -> Iterator[Path]:
    """A temporary directory, removed when the block is left.

    Args:
        label: a word for its name.
        user: whom to give it to, which takes root; it then lies where that user can reach it.
    """
    word = "".join(letter if letter.isalnum() else "-" for letter in label.lower())
    with _termination_as_interrupt():
        path: Path | None = None
        try:
            with _interrupts_held():
                # The first gettempdir() of a process writes a file to see whether it can.
                base = Path(tempfile.gettempdir()).resolve()
                if user and not all(folder.stat().st_mode & 0o001 for folder in (base, *base.parents)):
                    base = Path("/tmp")  # noqa: S108 - mkdtemp makes an unguessable name in it
                path = Path(tempfile.mkdtemp(prefix=f"causal-otel-{word}-", dir=base))
            if user:
                give_to(user, path)
            yield path
        finally:
            if path is not None:
                with _interrupts_held():
                    shutil.rmtree(path, ignore_errors=True)


def claim_port(port: int | None, name: str) -> int:
    """``port`` if it can be listened on, or a free one for None and 0.

    A free one stays bound, though nobody listens, by a socket that lets a server listen there. So until a server does,
    the kernel gives it to nobody else, neither to a client nor to who asks for a free one. Not so outside Linux.

    Raises:
        ServerError: The port is taken or not allowed.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT do not count as taken
        try:
            probe.bind((LOOPBACK, port or 0))
        except (OSError, OverflowError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise ServerError(f"{name} cannot listen on port {port} of {LOOPBACK}: {reason}.") from None
        number = int(probe.getsockname()[1])
        if not port and sys.platform == "linux":
            _claims.append(probe.detach())
            if len(_claims) > _MOST_CLAIMS:
                os.close(_claims.popleft())
    return number


def http_status(url: str, timeout: float = 5.0) -> int:
    """The status of ``GET url``, never through a proxy.

    Raises:
        OSError: There is no answer within ``timeout`` seconds.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error


def java_environment() -> dict[str, str]:
    """Our environment without what changes the options of every JVM."""
    unwanted = {"CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}
    return {key: value for key, value in os.environ.items() if key not in unwanted}


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does, unless the program has its own idea, so that cleanups run."""
    changed = []
    if threading.current_thread() is threading.main_thread():
        changed = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in changed:
            if signal.getsignal(number) is signal.default_int_handler:
                signal.signal(number, signal.SIG_DFL)


def give_to(user: str, path: Path) -> None:
    """Make ``user`` the owner of ``path`` and all below it, which takes root.

    Raises:
        ServerError: There is no such user.
    """
    owner = _account(user)
    for folder, _, files in os.walk(path):
        for name in (folder, *files):
            os.chown(os.path.join(folder, name), owner.pw_uid, owner.pw_gid, follow_symlinks=False)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Put off what interrupts us until the end of the block, so that nothing is made or removed by half."""
    if threading.current_thread() is not threading.main_thread():  # which is where Python's handlers run
        yield
        return
    arrived: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in held:
        signal.signal(number, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        for earlier in arrived:
            signal.raise_signal(earlier)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time ones have none
        return f"signal {number}"


def _account(user: str) -> pwd.struct_passwd:
    import pwd

    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise ServerError(f"There is no user {user!r} on this machine to run a server as.") from None
