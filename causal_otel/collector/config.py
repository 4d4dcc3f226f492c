"""Every option of the collector, once: its name, what it may be, its default and one line of help.

The fields of :class:`CollectorSettings` are the table: the command's options, their environment variables
(``CAUSAL_OTEL_COLLECTOR_`` and the name), the errors and the table in ``docs/reference/collector.md`` come from it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from causal_otel._internal.secrets import hide_credentials
from causal_otel._internal.setting_types import BOOLEAN, FILE, PAIRS, URL, Kind, number, setting
from causal_otel.collector.tokens import TOKEN
from causal_otel.settings import SettingError
from causal_otel.transports.transport import without_credentials

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from dataclasses import Field

__all__ = ["CollectorSettings", "add_options", "is_loopback", "reference"]

_VARIABLE_PREFIX = "CAUSAL_OTEL_COLLECTOR_"
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_HOST_NAME = re.compile(r"[A-Za-z0-9_.:%-]+")


# -- what a value may be ------------------------------------------------------------------------------------------


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError
        return text

    return parse


def _optional_port(text: str) -> int | None:
    return None if text.lower() == "off" else _PORT.parse(text)


def _days(text: str) -> int:
    days = int(text.lower().removesuffix("d"))
    if not 1 <= days <= 3650:
        raise ValueError
    return days


def _size(text: str) -> int | None:
    if text.lower() == "none":
        return None
    number, unit = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.lower()).groups()  # type: ignore[union-attr]
    size = int(float(number) * _UNITS[unit])
    if size < 1:
        raise ValueError
    return size


def _bound(text: str) -> int:
    size = _size(text)
    if size is None:
        raise ValueError
    return size


def _hosts(text: str) -> tuple[str, ...]:
    host = _matching(_HOST_NAME)
    return tuple(host(part.strip()).lower() for part in text.split(",") if part.strip())


def _default_directory() -> str:
    home = os.environ.get("XDG_DATA_HOME", "")
    base = home if os.path.isabs(home) else os.path.expanduser("~/.local/share")  # a relative one is to be ignored
    return os.path.join(base, "causal-otel", "traces")


_HOST = Kind("an IP address or a host name", _matching(_HOST_NAME))
_PORT = number(int, 0, 65535, "a port number, 0 to 65535; 0: a free one")
_OPTIONAL_PORT = Kind("a port number, 0 to 65535, or off", _optional_port)
_DIRECTORY = Kind("the path of a directory", os.path.expanduser)
_DAYS = Kind("a number of days, 1d to 3650d", _days)
_SIZE = Kind("a size such as 500MB, 5GB or 2GiB, or none", _size)
_TOKEN = Kind("printable ASCII characters without spaces", _matching(TOKEN))
_BOUND = Kind("a size such as 500MB, 5GB or 2GiB", _bound)
_HOSTS = Kind("host names; in the variable separated by commas", _hosts)


_REPEATED = {_HOSTS: "HOST", PAIRS: "NAME=VALUE"}
"""Kinds of options that may be given several times, and what one is called."""


def _option(kind: Kind, default: Any, help: str, *, shown: str = "", secret: bool = False) -> Any:
    return setting(kind, default, help, secret=secret, shown=shown or str(default or ""))


# -- the table ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class CollectorSettings:
    """What the collector runs with."""

    host: str = _option(
        _HOST,
        "127.0.0.1",
        "The address to listen on. If other machines reach it, a token is needed, and TLS or `insecure`.",
    )
    port: int = _option(_PORT, 16686, "The port of the pages and the query APIs.")
    otlp_http_port: int = _option(_PORT, 4318, "The port of OTLP/HTTP.")
    otlp_grpc_port: int | None = _option(
        _OPTIONAL_PORT, 4317, "The port of OTLP/gRPC. It is served if the extra `grpc` is installed."
    )
    data_dir: str = _option(
        _DIRECTORY,
        _default_directory,
        "Where traces are kept.",
        shown="$XDG_DATA_HOME/causal-otel/traces, else ~/.local/share/causal-otel/traces",
    )
    retention: int = _option(_DAYS, 30, "How long traces are kept.", shown="30d")
    max_size: int | None = _option(
        _SIZE, 5 * 10**9, "How much of the disk traces may take. Beyond that the oldest days are deleted.", shown="5GB"
    )
    token: str = _option(
        _TOKEN, "", "What every client has to send. Prefer the variable: others can read the command line.", secret=True
    )
    token_file: str = _option(
        FILE,
        "",
        "A file of tokens, one a line, each of which is good. It is read again when it changes: so tokens are rotated.",
    )
    tls_cert: str = _option(
        FILE, "", "The certificate chain to serve TLS with, PEM. It and its key are read again when they change."
    )
    tls_key: str = _option(FILE, "", "The private key of the certificate, PEM.")
    insecure: bool = _option(
        BOOLEAN,
        False,
        "Listen without TLS on an address that other machines reach, such as behind a proxy.",
        shown="false",
    )
    allowed_host: tuple[str, ...] = _option(
        _HOSTS,
        (),
        "Another host name under which clients reach the collector (the header Host). May be repeated.",
    )
    sampling_file: str = _option(
        FILE,
        "",
        "A file of sampling strategies in Jaeger's format. It is read again when it changes.",
    )
    forward: str = _option(
        URL,
        "",
        "Another OTLP/HTTP receiver that everything is sent on to; `/v1/traces` is appended if it is not there.",
    )
    forward_header: Mapping[str, str] = _option(
        PAIRS,
        dict,
        "A header to send there, such as `x-tenant=shop`, its value percent-encoded. May be repeated. "
        "Prefer the variable: others can read the command line.",
        shown="none",
        secret=True,
    )
    forward_max_size: int = _option(
        _BOUND,
        2 * 10**9,
        "How much of the disk may wait to be sent there. Beyond that the oldest is dropped.",
        shown="2GB",
    )

    @classmethod
    def load(
        cls, options: Mapping[str, str | list[str] | None] | None = None, environ: Mapping[str, str] | None = None
    ) -> CollectorSettings:
        """Read the options, and the environment where there are none.

        Args:
            options: their text by field name; None and what is absent count as not given.
            environ: where the variables are; default: the process's environment.

        Raises:
            SettingError: a value is not allowed, or what was chosen does not go together.
        """
        variables = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for option in fields(cls):
            name, given = _flag_name(option), (options or {}).get(option.name)
            if given is None:
                name = _variable(option)
                given = variables.get(name, "").strip() or None
            if given is not None:
                values[option.name] = _parsed(option, name, given if isinstance(given, str) else ",".join(given))
        settings = cls(**values)
        settings._check()
        return settings

    @property
    def tls(self) -> bool:
        """Whether to serve TLS."""
        return bool(self.tls_cert)

    def _check(self) -> None:
        if bool(self.tls_cert) != bool(self.tls_key):
            raise SettingError("TLS takes a certificate and its key: give both --tls-cert and --tls-key, or neither")
        self._check_forward()
        if is_loopback(self.host):
            return
        if not self.token and not self.token_file:
            raise SettingError(
                f"{self.host} can be reached by others, so a token is needed: set {_VARIABLE_PREFIX}TOKEN "
                "(to something long and random), give --token-file, or listen on 127.0.0.1"
            )
        if not (self.tls or self.insecure):
            raise SettingError(
                f"{self.host} can be reached by others, who could read the token and the traces on their way: "
                "give --tls-cert and --tls-key, or --insecure if something else encrypts"
            )

    def _check_forward(self) -> None:
        if self.forward_header and not self.forward:
            raise SettingError("--forward-header is for --forward: give both, or neither")
        if not self.forward:
            return
        parts = urlsplit(self.forward)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        if port in (self.port, self.otlp_http_port) and (is_loopback(host) or host == self.host.lower()):
            raise SettingError(
                f"--forward={without_credentials(self.forward)} is this collector itself: it would send on in a circle"
            )


def is_loopback(host: str) -> bool:
    """Whether ``host`` is an address or name of this machine that no other machine reaches."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


# -- reading and printing it --------------------------------------------------------------------------------------


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` an option for every field, each with its text as value."""
    for option in fields(CollectorSettings):
        kind, shown = option.metadata["kind"], option.metadata["shown"]
        description = option.metadata["help"].replace("`", "").replace("%", "%%")  # argparse formats it
        described = f"{description} Default: {shown}." if shown and kind is not BOOLEAN else description
        if kind is BOOLEAN:
            parser.add_argument(_flag_name(option), action="store_const", const="true", help=described)
        elif kind in _REPEATED:
            parser.add_argument(_flag_name(option), action="append", metavar=_REPEATED[kind], help=described)
        else:
            parser.add_argument(_flag_name(option), metavar=option.name.rpartition("_")[2].upper(), help=described)


def reference() -> str:
    """The table in Markdown."""
    lines = ["| option | variable | default | allowed | what it does |", "|---|---|---|---|---|"]
    for option in fields(CollectorSettings):
        shown = option.metadata["shown"]
        lines.append(
            f"| `{_flag_name(option)}` | `{_variable(option)}` | {f'`{shown}`' if shown else ''} "
            f"| {option.metadata['kind'].allowed} | {option.metadata['help']} |"
        )
    return "\n".join(lines) + "\n"


def _flag_name(option: Field[Any]) -> str:
    return "--" + option.name.replace("_", "-")


def _variable(option: Field[Any]) -> str:
    return _VARIABLE_PREFIX + option.name.upper()


def _parsed(option: Field[Any], name: str, text: str) -> Any:
    kind: Kind = option.metadata["kind"]
    try:
        return kind.parse(text)
    except (ValueError, KeyError, AttributeError, OverflowError):
        shown = "(not shown)" if option.metadata["secret"] else hide_credentials(repr(text))
        raise SettingError(f"{name}={shown} is not allowed; it must be {kind.allowed}") from None
