"""A pool's method on a connection that can be had at once: nothing is current inside, since all of it is known before.

The connection that the pool is about to give is noted for as long as the method goes on. What is done with it
meanwhile, the statement, the reset and giving it back, belongs to the method and is no operation of its own. Nobody
else can use the connection, and no code of the user's runs there: where it could, in a hook of the pool's, or where the
pool has to be waited for, the method tells its parts through the context (see ``under_way.py``).

A pool gives the connection to whoever waits for it before the method learns that it is back. By then it has another
proxy, by which that is known.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from causal_otel.names import CAUSAL_POOL_SETUP

if TYPE_CHECKING:
    from causal_otel.instrument.calls import Args
    from causal_otel.instrument.operation import Running

__all__ = ["GivingBack", "Lease", "lease_of", "leases"]

leases: dict[Any, Lease] = {}
"""By connection, the method of its pool that uses it: ask whether there are any before anything else."""


def lease_of(connection: Any) -> Lease | None:
    """The method that uses ``connection`` now; None: none does. Ask first whether there are any."""
    lease = leases.get(connection)
    if lease is None:
        return None
    proxy = getattr(connection, "_proxy", None)
    if lease.proxy is None:
        lease.proxy = proxy
    elif proxy is not None and proxy is not lease.proxy:
        del leases[connection]
        return None
    return lease


class Lease:
    """A method of a pool under way, on a connection that it will be given at once.

    Args:
        running: the operation.
        args: the arguments to use instead of the caller's, if any.
        connection: which one.
        key: the part that its time is, but for giving the connection back; None: none.

    Attributes:
        giving_back: how long it took to give the connection back, in seconds.
        proxy: what the pool has given for the connection; None: it is not known yet.
    """

    __slots__ = ("_began", "_connection", "_key", "_running", "args", "giving_back", "proxy")

    inside: Context | None = None

    def __init__(self, running: Running, args: Args | None, connection: Any, key: str | None) -> None:
        self._running = running
        self.args = args
        self._connection = connection
        self._key = key
        self.giving_back = 0.0
        self.proxy: Any = None
        leases[connection] = self
        self._began = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""
        if leases.get(self._connection) is self:  # or somebody else has it already
            del leases[self._connection]
        if self.giving_back:
            self._running.part(CAUSAL_POOL_SETUP, self.giving_back)
        if self._key is not None:
            self._running.part(self._key, perf_counter() - self._began - self.giving_back)
        self._running.end(result, error)


class GivingBack:
    """The connection of a method is given back."""

    __slots__ = ("_began", "_lease")

    args: Args | None = None
    inside: Context | None = None

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._began = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is back."""
        self._lease.giving_back = perf_counter() - self._began
