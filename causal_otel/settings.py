"""Every setting, once: its name, type, default, environment variables and one line of help.

The fields of :class:`Settings` are the table. :meth:`Settings.load` parses by it, :class:`SettingError` explains by
it, and ``docs/settings.md`` is printed from it (``make docs``).

OpenTelemetry's own variables come first, then the names that deployments already have. An argument of
:func:`causal_otel.install` beats a variable, and the first variable that is set and not empty beats the next.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from dataclasses import Field

__all__ = ["SettingError", "Settings"]

_logger = logging.getLogger("causal_otel")


class SettingError(ValueError):
    """A setting has a value that is not allowed. The message names it, the value and what is allowed."""


# -- what a value may be ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """How a value is read from text, and what to tell who got it wrong."""

    allowed: str
    parse: Callable[[str], Any]
    accepts: Callable[[Any], bool]
    """Whether a value given as an argument, already of the right type, is allowed."""


def _choice(*names: str) -> Kind:
    def parse(text: str) -> str:
        if text.lower() not in names:
            raise ValueError
        return text.lower()

    return Kind("one of " + ", ".join(names), parse, lambda value: value in names)


def _boolean(text: str) -> bool:
    return {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}[
        text.lower()
    ]


def _number(kind: type[int] | type[float], low: float, high: float, allowed: str) -> Kind:
    def fits(value: Any) -> bool:
        types = (int,) if kind is int else (int, float)
        return isinstance(value, types) and not isinstance(value, bool) and low <= value <= high

    def parse(text: str) -> float:
        value = kind(text)
        if not fits(value):
            raise ValueError
        return value

    return Kind(allowed, parse, fits)


def _pairs(text: str) -> dict[str, str]:
    """``key=value,key=value``, percent-encoded (the format of W3C baggage, used by OTel's variables)."""
    pairs = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ValueError
        pairs[unquote(key.strip())] = unquote(value.strip())
    return pairs


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or (parts.port is not None and parts.port < 1):
        raise ValueError
    return text


def _file(path: str | os.PathLike[str]) -> str:
    if not (os.path.isfile(path) and os.access(path, os.R_OK)):
        raise ValueError
    return os.fspath(path)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
    if not names or set(names) - set(_installed_propagators()):
        raise ValueError
    return names


def _installed_propagators() -> tuple[str, ...]:
    from importlib.metadata import entry_points

    return (*sorted({point.name for point in entry_points(group="opentelemetry_propagator")}), "none")


def _valid(parse: Callable[[str], Any]) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        parse(value)
        return True

    return accepts


_TEXT = Kind("any text", str, lambda value: isinstance(value, str))
_BOOLEAN = Kind("true or false", _boolean, lambda value: isinstance(value, bool))
_URL = Kind("an http:// or https:// URL", _url, _valid(_url))
_PORT = _number(int, 1, 65535, "a port number, 1 to 65535")
_COUNT = _number(int, 0, 2**31, "a whole number, 0 or more")
_POSITIVE = _number(int, 1, 2**31, "a whole number, 1 or more")
_SECONDS = _number(float, 0.001, 86400, "a number of seconds, 0.001 to 86400")
_RATIO = _number(float, 0, 1, "a number from 0 to 1")
_FILE = Kind("the path of a readable file", _file, _valid(_file))
_PAIRS = Kind(
    "key=value pairs separated by commas, percent-encoded; as an argument, a mapping of str to str",
    _pairs,
    lambda value: all(isinstance(item, str) for pair in value.items() for item in pair),
)
_PROPAGATORS = Kind(
    "names of installed propagators separated by commas, or none",
    _names,
    lambda value: not isinstance(value, str) and bool(_names(",".join(value))),
)
_SAMPLERS = _choice(
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)


def _milliseconds(text: str) -> float:
    return cast("float", _SECONDS.parse(str(float(text) / 1000)))


_MILLISECONDS = Kind("milliseconds, 1 to 86400000; as an argument, seconds", _milliseconds, _SECONDS.accepts)


def _setting(kind: Kind, default: Any, help: str, *variables: str, secret: bool = False) -> Any:
    metadata = {"kind": kind, "help": help, "variables": variables, "secret": secret}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


# -- the table ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What :func:`causal_otel.install` works with. Times are in seconds."""

    enabled: bool = _setting(
        _BOOLEAN, True, "`false`: `install()` returns at once and patches nothing.", "TRACING_ENABLED"
    )
    sdk_disabled: bool = _setting(_BOOLEAN, False, "`true`: the same, in OpenTelemetry's words.", "OTEL_SDK_DISABLED")

    service_name: str = _setting(
        _TEXT,
        "",
        "The service; default: `service.name` of the resource attributes, else the program's name.",
        "OTEL_SERVICE_NAME",
    )
    service_version: str = _setting(_TEXT, "", "Its version: `service.version`.", "SERVICE_VERSION")
    environment: str = _setting(_TEXT, "", "Where it runs: `deployment.environment.name`.", "ENVIRONMENT")
    resource_attributes: Mapping[str, str] = _setting(
        _PAIRS, {}, "More about the service, on every span.", "OTEL_RESOURCE_ATTRIBUTES"
    )

    exporter: str = _setting(
        _choice("otlp", "jaeger", "console", "none"),
        "otlp",
        "Where spans go. `jaeger` is OTLP to `jaeger_host`.",
        "OTEL_TRACES_EXPORTER",
        "TRACING_EXPORTER",
    )
    console: bool = _setting(_BOOLEAN, False, "Print every span on standard error as well.", "TRACING_CONSOLE")
    traces_endpoint: str = _setting(
        _URL, "", "The OTLP URL for traces, used as it is.", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    )
    endpoint: str = _setting(
        _URL,
        "",
        "The OTLP base URL; `/v1/traces` is appended for HTTP. Default: port 4318 (HTTP) or 4317 (gRPC) on localhost.",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTLP_ENDPOINT",
    )
    jaeger_host: str = _setting(_TEXT, "localhost", "The Jaeger host, for the exporter `jaeger`.", "JAEGER_HOST")
    jaeger_port: int | None = _setting(
        _PORT,
        None,
        "Its OTLP port. The ports of the retired Jaeger protocols are taken to mean the OTLP port.",
        "JAEGER_PORT",
    )
    protocol: str = _setting(
        _choice("http/protobuf", "grpc"),
        "http/protobuf",
        "How OTLP travels. `grpc` needs the extra `grpc`.",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    )
    headers: Mapping[str, str] = _setting(
        _PAIRS,
        {},
        "Headers of every export, such as credentials.",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_EXPORTER_OTLP_HEADERS",
        secret=True,
    )
    timeout: float = _setting(
        _SECONDS,
        10.0,
        "How long one attempt to export may take.",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
    )
    compression: str = _setting(
        _choice("none", "gzip", "deflate"),
        "none",
        "How exports are compressed; `deflate` with HTTP only.",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
    )
    certificate: str = _setting(
        _FILE,
        "",
        "The CA certificates to check the collector's against.",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
    )
    client_certificate: str = _setting(
        _FILE,
        "",
        "Our own certificate (mutual TLS).",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    )
    client_key: str = _setting(
        _FILE, "", "Its key.", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"
    )
    insecure: bool | None = _setting(
        _BOOLEAN,
        None,
        "gRPC without TLS; default: as the scheme of the endpoint says.",
        "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
        "OTEL_EXPORTER_OTLP_INSECURE",
    )

    sampler: str = _setting(_SAMPLERS, "parentbased_always_on", "Which traces are recorded.", "OTEL_TRACES_SAMPLER")
    sampler_arg: float = _setting(_RATIO, 1.0, "The share, for the samplers with a ratio.", "OTEL_TRACES_SAMPLER_ARG")

    schedule_delay: float = _setting(
        _MILLISECONDS, 5.0, "How long a span waits for its batch to fill.", "OTEL_BSP_SCHEDULE_DELAY"
    )
    max_queue_size: int = _setting(
        _POSITIVE, 2048, "How many spans may wait; beyond that the oldest are dropped.", "OTEL_BSP_MAX_QUEUE_SIZE"
    )
    max_export_batch_size: int = _setting(
        _POSITIVE, 512, "How many spans go in one export, at the most.", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
    )
    export_timeout: float = _setting(
        _MILLISECONDS,
        30.0,
        "How long one batch may take, with all attempts and the pauses between them.",
        "OTEL_BSP_EXPORT_TIMEOUT",
    )
    exit_timeout: float = _setting(
        _SECONDS, 5.0, "How long the end of a process may be delayed to export what is left.", "TRACING_EXIT_TIMEOUT"
    )
    spool_directory: str = _setting(
        _TEXT,
        "",
        "Where batches wait on disk while the collector cannot be reached; default: nowhere, they are lost then.",
        "TRACING_SPOOL_DIRECTORY",
    )
    spool_max_bytes: int = _setting(
        _POSITIVE,
        64 * 1024 * 1024,
        "How many bytes may wait there, over all processes; beyond that the oldest are dropped.",
        "TRACING_SPOOL_MAX_BYTES",
    )

    attribute_count_limit: int = _setting(
        _COUNT, 128, "Attributes of a span, event or link, at the most.", "OTEL_ATTRIBUTE_COUNT_LIMIT"
    )
    attribute_value_length_limit: int | None = _setting(
        _COUNT,
        None,
        "Characters of an attribute's text, at the most; default: no limit.",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    )
    span_attribute_count_limit: int | None = _setting(
        _COUNT, None, "The same, for spans alone.", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"
    )
    span_attribute_value_length_limit: int | None = _setting(
        _COUNT, None, "The same, for spans alone.", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"
    )
    span_event_count_limit: int = _setting(_COUNT, 128, "Events of a span, at the most.", "OTEL_SPAN_EVENT_COUNT_LIMIT")
    span_link_count_limit: int = _setting(_COUNT, 128, "Links of a span, at the most.", "OTEL_SPAN_LINK_COUNT_LIMIT")
    event_attribute_count_limit: int | None = _setting(
        _COUNT, None, "Attributes of an event, at the most.", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"
    )
    link_attribute_count_limit: int | None = _setting(
        _COUNT, None, "Attributes of a link, at the most.", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"
    )

    propagators: tuple[str, ...] = _setting(
        _PROPAGATORS,
        ("tracecontext", "baggage"),
        "How context travels between processes; `none`: not at all.",
        "OTEL_PROPAGATORS",
    )

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **arguments: object) -> Settings:
        """Read the environment, let the arguments beat it, and check everything.

        Args:
            environ: where the variables are; default: the process's environment.
            arguments: values by field name; None means "not given".

        Raises:
            SettingError: a value is not allowed, or there is no setting of that name.
        """
        variables = os.environ if environ is None else environ
        table = {setting.name: setting for setting in fields(cls)}
        for name in arguments:
            if name not in table:
                raise SettingError(f"install() has no setting {name!r}; there are: {', '.join(table)}")
        values: dict[str, Any] = {}
        for name, setting in table.items():
            given = arguments.get(name)
            if given is not None:
                values[name] = _checked(setting, given)
            else:
                values |= _from_environment(setting, variables)
        return cls(**values)

    @property
    def wanted(self) -> bool:
        """Whether tracing is switched on at all."""
        return self.enabled and not self.sdk_disabled

    def destination(self) -> tuple[str, str]:
        """The protocol and the URL that spans are sent to: complete for HTTP, scheme and authority for gRPC.

        An OTLP endpoint beats ``jaeger_host`` and ``jaeger_port``. Jaeger's OTLP ports choose the protocol; the
        ports that it has retired (Thrift over UDP or HTTP, its own gRPC) become the OTLP port of the same host,
        with one warning.
        """
        protocol, base = self.protocol, self.endpoint
        if self.traces_endpoint:
            return protocol, self.traces_endpoint
        if not base and self.exporter == "jaeger":
            protocol, base = self._jaeger()
        elif not base:
            base = f"http://localhost:{_OTLP_PORTS[protocol]}"
        if protocol == "grpc":
            return protocol, base
        parts = urlsplit(base)
        return protocol, urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/v1/traces"))

    def _jaeger(self) -> tuple[str, str]:
        protocol, port = self.protocol, self.jaeger_port
        if port == _OTLP_PORTS["http/protobuf"]:
            protocol = "http/protobuf"
        elif port == _OTLP_PORTS["grpc"] and find_spec("grpc") is not None:
            protocol = "grpc"
        elif port is None or port in (*_RETIRED_JAEGER_PORTS, _OTLP_PORTS["grpc"]):
            port = _OTLP_PORTS[protocol]
            if self.jaeger_port not in (None, port):
                _logger.warning(
                    "JAEGER_PORT=%d is not a port that %s can be sent to; using port %d of %s: set JAEGER_PORT=%d",
                    *(self.jaeger_port, f"OTLP over {protocol}", port, self.jaeger_host, port),
                )
        host = self.jaeger_host
        return protocol, f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{port}"


_OTLP_PORTS = {"http/protobuf": 4318, "grpc": 4317}
_RETIRED_JAEGER_PORTS = (5775, 6831, 6832, 14250, 14268)


# -- reading it ---------------------------------------------------------------------------------------------------


def _from_environment(setting: Field[Any], environ: Mapping[str, str]) -> dict[str, Any]:
    kind: Kind = setting.metadata["kind"]
    for variable in setting.metadata["variables"]:
        text = environ.get(variable, "").strip()
        if text:
            try:
                return {setting.name: kind.parse(text)}
            except (ValueError, KeyError, OverflowError):
                raise _refused(setting, text, variable) from None
    return {}


def _checked(setting: Field[Any], value: Any) -> Any:
    kind: Kind = setting.metadata["kind"]
    try:
        allowed = kind.accepts(value)
    except (ValueError, TypeError, AttributeError):
        allowed = False
    if not allowed:
        raise _refused(setting, value, setting.name)
    if kind is _FILE:
        return _file(value)
    return tuple(value) if kind is _PROPAGATORS else value


def _refused(setting: Field[Any], value: object, name: str) -> SettingError:
    shown = "(not shown, it may hold a secret)" if setting.metadata["secret"] else repr(value)
    allowed = setting.metadata["kind"].allowed
    if setting.metadata["kind"] is _PROPAGATORS:
        allowed += f" (installed: {', '.join(_installed_propagators())})"
    return SettingError(f"{name}={shown} is not allowed; it must be {allowed}")


# -- printing it --------------------------------------------------------------------------------------------------


def reference() -> str:
    """The table as a Markdown page."""
    lines = [
        "# Settings",
        "",
        "Printed by `make docs`; do not edit.",
        "",
        "An argument of `install()` beats a variable; of several variables, the first one that is set and not empty",
        "counts. A value that is not allowed stops `install()` with a message that names the variable, the value and",
        "what is allowed. Times are in seconds; only the `OTEL_BSP_*` variables are in milliseconds.",
        "",
        "| argument | variables | default | allowed | what it does |",
        "|---|---|---|---|---|",
    ]
    for setting in fields(Settings):
        variables = ", ".join(f"`{name}`" for name in setting.metadata["variables"])
        default = getattr(Settings(), setting.name)
        shown = ",".join(default) if isinstance(default, tuple) else str(default).lower()
        lines.append(
            f"| `{setting.name}` | {variables} | {'' if default in (None, '', {}) else f'`{shown}`'} "
            f"| {setting.metadata['kind'].allowed} | {setting.metadata['help']} |"
        )
    return "\n".join(lines) + "\n"
