"""How the neo4j driver gets a connection: it waits for its pool, connects, and asks which server to talk to.

Nobody calls any of this for its own sake: a query, ``BEGIN`` or ``verify_connectivity()`` does. What took time is noted
for whichever it is (see :mod:`causal_otel.instrument.parts`).
"""

from __future__ import annotations

from contextvars import ContextVar
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from causal_otel.instrument.calls import traced_call
from causal_otel.instrument.declaration import Connect
from causal_otel.instrument.parts import LEAST, note
from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_DISCOVERY,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
)
from causal_otel.patches.neo4j.operations import private

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.calls import Args, Kwargs, Wrapper
    from causal_otel.instrument.measured import PoolMeter
    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS", "acquiring", "discovering", "pool_facts", "releasing"]

_Notes = tuple[tuple[float, str, float], ...]

_inside: ContextVar[_Notes] = ContextVar("causal_otel_neo4j_acquisition", default=())
"""What getting the connection that this task or thread waits for has consisted of: when each began, by
``perf_counter()``, its key and its seconds."""

_resolving: ContextVar[float] = ContextVar("causal_otel_neo4j_resolving", default=0.0)
"""When the name lookup began that is under way; 0: none is."""

_METER = "_causal_otel_meter"
_POOL = "_causal_otel_pool"
_USED_SINCE = "_causal_otel_used_since"


class _Timed:
    """A call whose time, but for what was noted inside it, is a part.

    Args:
        key: the part.
    """

    __slots__ = ("_began", "_key")

    args: Args | None = None
    inside: Context | None = None

    def __init__(self, key: str) -> None:
        self._key = key
        self._began = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""
        seconds = perf_counter() - self._began
        if seconds >= LEAST:
            _add(self._key, self._began, seconds - sum(_parts(self._began).values()))


def _parts(since: float, *left_out: str) -> dict[str, float]:
    """The parts that have been noted since a moment, disjoint."""
    found: dict[str, float] = {}
    for began, key, seconds in _inside.get():
        if began >= since and key not in (CAUSAL_CONNECT_DNS, *left_out):
            found[key] = found.get(key, 0.0) + seconds
    return found


def _add(key: str, began: float, seconds: float) -> None:
    _inside.set((*_inside.get(), (began, key, seconds)))


class _Connecting(_Timed):
    """``Bolt.open``: name lookup, TCP, TLS, the Bolt handshake, ``HELLO`` and ``LOGON``."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(CAUSAL_CONNECT)
        _resolving.set(self._began)

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over, perhaps because the name could not be looked up."""
        _resolved()
        _add(CAUSAL_CONNECT, self._began, perf_counter() - self._began)


class _Reaching:
    """Opening a socket, in an empty context: what reads from it outlives the request that has opened it."""

    __slots__ = ("inside",)

    args: Args | None = None

    def __init__(self) -> None:
        _resolved()
        self.inside = Context()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""


def _resolved() -> None:
    """The name has been looked up: the driver opens a socket, or gives up."""
    began = _resolving.get()
    if began:
        _resolving.set(0.0)
        _add(CAUSAL_CONNECT_DNS, began, perf_counter() - began)


class _Acquiring:
    """``Session._connect``: from asking for a connection to having one."""

    __slots__ = ("_began", "_meter", "_session", "_waiting")

    args: Args | None = None
    inside: Context | None = None

    def __init__(self, session: Any, meter: PoolMeter | None) -> None:
        self._session = session
        self._meter = meter
        self._waiting = len(private(session, "_pool", "cond", "_waiters") or ())
        if meter is not None:
            meter.pending(1)
        self._began = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """There is a connection, or there is none."""
        seconds = perf_counter() - self._began
        notes = _inside.get()
        if notes:
            _inside.set(())
        elif self._meter is None and seconds < LEAST:
            return
        found: dict[str, float] = {}
        for began, key, value in notes:
            if began >= self._began:
                found[key] = found.get(key, 0.0) + value
        wait = seconds - sum(value for key, value in found.items() if key != CAUSAL_CONNECT_DNS)
        if self._meter is not None:
            self._measure(self._meter, wait, found.get(CAUSAL_CONNECT), error)
        for key, value in found.items():
            note(key, value)
        if wait >= LEAST:
            note(CAUSAL_POOL_WAIT, wait)
            facts = {CAUSAL_POOL_WAITING: self._waiting}
            size = private(self._session, "_pool", "pool_config", "max_connection_pool_size")
            if isinstance(size, int) and size > 0:
                facts[CAUSAL_POOL_SIZE] = size
            vars(self._session)[_POOL] = facts

    def _measure(self, meter: PoolMeter, wait: float, connect: float | None, error: BaseException | None) -> None:
        meter.pending(-1)
        if connect is not None:
            meter.created(connect)
        if error is None:
            meter.waited(wait)
            vars(self._session)[_USED_SINCE] = perf_counter()
        elif _is_timeout(error):
            meter.timed_out()


def pool_facts(session: Any) -> dict[str, Any]:
    """The size of the pool, and how many waited for it already, when ``session`` last had to wait for a connection."""
    facts = private(session, "__dict__", "get")
    found = facts(_POOL) if facts is not None else None
    return found if isinstance(found, dict) else {}


def _is_timeout(error: BaseException) -> bool:
    """Whether no connection of the pool came free in time. Drivers before version 6 have no class for it."""
    name = type(error).__name__
    return name == "ConnectionAcquisitionTimeoutError" or (
        name == "ClientError" and private(error, "code") is None and "from the pool within" in str(error)
    )


class _Releasing:
    """``Session._disconnect``, which gives the connection back."""

    __slots__ = ("_meter", "_session")

    args: Args | None = None
    inside: Context | None = None

    def __init__(self, session: Any, meter: PoolMeter) -> None:
        self._session = session
        self._meter = meter

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It has been given back, if there was one."""
        since = vars(self._session).pop(_USED_SINCE, None)
        if since is not None:
            self._meter.used(perf_counter() - since)


def _meter(tracing: Tracing[Any], session: Any) -> PoolMeter | None:
    """What measures the pool of ``session``; None: nothing does."""
    pool = private(session, "_pool")
    if tracing.pools is None or pool is None:
        return None
    known: tuple[Any, PoolMeter] | None = vars(pool).get(_METER)
    if known is not None and known[0] is tracing.pools:
        return known[1]
    address = private(pool, "address")
    name = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "neo4j"
    meter = tracing.pools.meter(name, pool, _count)
    vars(pool)[_METER] = tracing.pools, meter
    return meter


def _count(pool: Any) -> tuple[int, int]:
    """How many connections of a pool are idle, and how many are used."""
    connections = [each for of_one_address in list(pool.connections.values()) for each in list(of_one_address)]
    used = sum(1 for each in connections if each.in_use)
    return len(connections) - used, used


def _acquire(tracing: Tracing[Any], session: Any, args: Args, kwargs: Kwargs) -> _Acquiring:
    return _Acquiring(session, _meter(tracing, session))


def _release(tracing: Tracing[Any], session: Any, args: Args, kwargs: Kwargs) -> _Releasing | None:
    meter = _meter(tracing, session)
    return None if meter is None else _Releasing(session, meter)


acquiring = traced_call(_acquire)
"""Wraps ``Session._connect``."""

_connecting = traced_call(lambda tracing, bolt, args, kwargs: _Connecting())
_reaching = traced_call(lambda tracing, bolt_socket, args, kwargs: _Reaching())

discovering = traced_call(lambda tracing, pool, args, kwargs: _Timed(CAUSAL_DISCOVERY))
"""Wraps what makes sure that the pool has a routing table."""


def releasing(tracing: Tracing[Any], original: Any) -> Any:
    """Wraps ``Session._disconnect``, if pools are measured."""
    return original if tracing.pools is None else traced_call(_release)(tracing, original)


def _class_method(module: str, owners: tuple[str, ...], attribute: str, wrapper: Wrapper) -> Connect:
    """Wrap a class method that is called through its class, which a ``Wrap`` leaves alone.

    Args:
        module: the module.
        owners: the classes that have it in one supported version or another. Without it there is one part less.
        attribute: its name.
        wrapper: as for a method; the class is its instance.
    """

    def connect(tracing: Tracing[Any]) -> Callable[[], None]:
        placed: list[tuple[Any, Any, Any]] = []
        for name in owners:
            owner = private(import_module(module), name)
            original = None if owner is None else vars(owner).get(attribute)
            if isinstance(original, classmethod):
                replacement = classmethod(wrapper(tracing, original.__func__))
                setattr(owner, attribute, replacement)
                placed.append((owner, original, replacement))

        def undo() -> None:
            for owner, original, replacement in placed:
                if vars(owner).get(attribute) is replacement:
                    setattr(owner, attribute, original)

        return undo

    return Connect(module, connect)


TARGETS = (
    _class_method("neo4j._sync.io", ("Bolt",), "open", _connecting),
    _class_method("neo4j._async.io", ("AsyncBolt",), "open", _connecting),
    _class_method(
        "neo4j._async_compat.network._bolt_socket",
        ("BoltSocketBase", "BoltSocket", "AsyncBoltSocketBase", "AsyncBoltSocket"),
        "_connect_secure",
        _reaching,
    ),
)
"""Opening connections and sockets."""
