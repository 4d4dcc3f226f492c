"""A lock for which a fork waits."""

from __future__ import annotations

import threading
import time

from causal_otel._internal.fork_lock import ForkLock
from tests.engine.forking import forked
from tests.waiting import pause


def _held(lock: ForkLock, until: threading.Event) -> threading.Thread:
    """A thread that holds ``lock``, from when this returns until it is told."""
    holding = threading.Event()

    def hold() -> None:
        with lock.held():
            holding.set()
            until.wait(60)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert holding.wait(60)
    return thread


def test_a_fork_waits_for_its_holder() -> None:
    """What a thread does under the lock is done before the process forks; afterwards both processes can hold it."""
    lock, done = ForkLock(seconds=60.0), threading.Event()
    thread = _held(lock, done)

    def end() -> None:
        pause(0.2)
        done.set()

    planted = threading.Thread(target=end)
    started = time.monotonic()
    planted.start()
    assert forked(lambda: str(done.is_set() and not lock._lock.locked())) == "True"
    assert time.monotonic() - started >= 0.2
    thread.join(60)
    planted.join(60)
    with lock.held():
        pass


def test_a_holder_that_never_ends_delays_a_fork_only_so_long() -> None:
    """The fork goes on after some seconds, the child has a lock of its own, and the parent's is still held."""
    lock, done = ForkLock(seconds=0.1), threading.Event()
    thread = _held(lock, done)
    assert forked(lambda: str(lock._lock.locked())) == "False"
    assert lock._lock.locked()
    done.set()
    thread.join(60)
    with lock.held():
        pass
