"""The certificate that TLS is served with: read again when it changes. Connections that there are go on."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

from causal_otel.collector.followed import Followed

__all__ = ["Certificate", "Loaded"]


class Loaded(NamedTuple):
    """A certificate with its key, as it was read.

    Attributes:
        context: serves it.
        key: the private key, PEM.
        chain: the certificate chain, PEM.
    """

    context: ssl.SSLContext
    key: bytes
    chain: bytes


class Certificate:
    """A certificate and its key in files. A new one, or one with its key, counts for new connections.

    While the files do not belong together, as between the writing of one and of the other, the pair from before counts.

    Args:
        chain: the file of the certificate chain, PEM.
        key: the file of its private key, PEM.

    Raises:
        OSError: They cannot be read, or cannot be used.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain = chain
        self._key = key
        try:
            self._files = Followed([chain, key], self._read, explain=self._explained, bad=(ssl.SSLError,))
        except ssl.SSLError as error:
            raise OSError(f"--tls-cert and --tls-key cannot be used: {error}") from None
        self.context = self._files.current().context
        """Serves the certificate of the moment to each new connection."""
        # Asked in every handshake, also where the client names no server.
        self.context.sni_callback = self._choose

    @property
    def error(self) -> str:
        """Why the files as they are now are not used, for people; empty: they are."""
        return self._files.error

    def current(self) -> Loaded:
        """What is to be served now."""
        return self._files.current(at_once=True)

    def _choose(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        current = self.current().context
        if current is not self.context:
            connection.context = current

    def _read(self) -> Loaded:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain, self._key)
        return Loaded(context, self._key.read_bytes(), self._chain.read_bytes())

    def _explained(self, error: Exception) -> str:
        return f"{self._chain} and {self._key} cannot be used: {error}; the certificate from before is served"
