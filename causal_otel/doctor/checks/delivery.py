"""Whether the collector answers and takes what it is sent, and whether a test span is found again."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from causal_otel.doctor.connection import Look
from causal_otel.doctor.facts import Facts
from causal_otel.doctor.finding import Finding, Kind, Severity
from causal_otel.doctor.fixes import assign
from causal_otel.doctor.probe import Probe

__all__ = ["KINDS", "check"]

_LOST = "Nothing that is recorded arrives: it waits, and is lost when the room for it is full."

_NAME = Kind("collector-name", Severity.ERROR, "The collector's host name is not known.", _LOST)
_AWAY = Kind("collector-away", Severity.ERROR, "Nobody answers at the collector's address.", _LOST)
_PROXY = Kind("collector-proxy", Severity.ERROR, "A proxy of the environment is between us and the collector.", _LOST)
_SCHEME = Kind("collector-scheme", Severity.ERROR, "The port speaks TLS and the endpoint none, or the reverse.", _LOST)
_TLS = Kind("collector-certificate", Severity.ERROR, "The collector's certificate is not trusted.", _LOST)
_CLIENT = Kind("client-certificate", Severity.ERROR, "The collector wants a certificate of the client's.", _LOST)
_PROTOCOL = Kind("collector-protocol", Severity.ERROR, "A port for gRPC is spoken to by HTTP, or the reverse.", _LOST)
_PATH = Kind("collector-path", Severity.ERROR, "No OTLP receiver is at this path.", _LOST)
_TOKEN = Kind("collector-token", Severity.ERROR, "The collector refuses the credentials.", _LOST)
_OTHER = Kind("collector-other", Severity.ERROR, "Something answers that is no OTLP receiver.", _LOST)
_SLOW = Kind("collector-slow", Severity.ERROR, "The collector takes the connection and does not answer in time.", _LOST)
_UNWILLING = Kind("collector-unwilling", Severity.ERROR, "The collector does not take what it is sent.", _LOST)
_SIGNAL = Kind(
    "signal-refused",
    Severity.WARNING,
    "Metrics or log records are exported to a place that does not take them.",
    "They are lost; spans are not affected.",
)
_NOT_FOUND = Kind(
    "span-not-found",
    Severity.WARNING,
    "The collector has taken the test span, and it is not found again.",
    "Something behind the collector drops traces, or another back end than the one that is asked keeps them.",
)
_CLOCK = Kind(
    "clock",
    Severity.WARNING,
    "The clocks of this machine and of the collector differ.",
    "Spans of two machines do not lie in each other, and traces are looked for at the wrong time.",
)

KINDS = (
    *(_NAME, _AWAY, _PROXY, _SCHEME, _TLS, _CLIENT, _PROTOCOL, _PATH, _TOKEN, _OTHER, _SLOW, _UNWILLING),
    *(_SIGNAL, _NOT_FOUND, _CLOCK),
)

_SECONDS_APART = 5.0
_TOKENS = ("401", "403", "UNAUTHENTICATED", "PERMISSION_DENIED")
_PATHS = ("404", "405")
_TIMEOUTS = ("timeout", "DEADLINE_EXCEEDED")
_PAGES = 16686


def check(facts: Facts) -> Iterator[Finding]:
    """Look at what came of asking."""
    for probe in facts.probes:
        if not probe.delivered:
            found = _undelivered(facts, probe)
            yield found if probe.signal == "traces" else _SIGNAL(f"{probe.signal}: {found.what}", _off(facts, probe))
            continue
        if probe.searched is not None and probe.searched.place and not (probe.searched.found or probe.searched.problem):
            yield _NOT_FOUND(
                f"{probe.url} has taken the test span, and {probe.searched.place} does not know it.",
                "causal-otel doctor --url http://127.0.0.1:16686    # the query API of whoever keeps the traces",
            )
        if probe.signal == "traces" and probe.ahead is not None and abs(probe.ahead) > _SECONDS_APART:
            yield _CLOCK(
                f"The collector's clock is {abs(probe.ahead):.0f} s {'ahead' if probe.ahead > 0 else 'behind'}.",
                "sudo timedatectl set-ntp true    # on both machines",
            )


def _undelivered(facts: Facts, probe: Probe) -> Finding:
    """Why it was not taken: what comes first on its way comes first here."""
    seen = probe.seen or Look("connected")
    place = urlsplit(probe.url)
    at = place.netloc
    if probe.proxy and probe.outcome.kind not in (*_TOKENS, *_PATHS):
        return _PROXY(
            f"Spans for {at} go through the proxy {probe.proxy}: {_sentence(probe.outcome.detail)}.",
            f'export NO_PROXY="$NO_PROXY,{place.hostname}"',
        )
    if seen.stage == "name":
        return _NAME(
            f"{place.hostname} has no address: {seen.problem}.",
            _endpoint(
                facts, f"{place.scheme}://localhost:{place.port}", "the collector's name as this machine knows it"
            ),
        )
    if seen.stage == "connect":
        elsewhere = _endpoint(facts, f"http://COLLECTOR:{place.port}")
        return _AWAY(f"Nobody answers at {at}: {seen.problem}.", f"causal-otel collector    # or {elsewhere}")
    return _wrong_tls(facts, probe, seen) or _wrong_answer(facts, probe, seen)


def _wrong_tls(facts: Facts, probe: Probe, seen: Look) -> Finding | None:
    place = urlsplit(probe.url)
    at = place.netloc
    if seen.tls is False and place.scheme == "https":
        what = f"{at} speaks no TLS, and the endpoint begins with https://."
        return _SCHEME(what, _endpoint(facts, f"http://{at}"))
    if seen.tls and place.scheme != "https":
        what = f"{at} speaks TLS, and the endpoint begins with http://."
        return _SCHEME(what, _endpoint(facts, f"https://{at}"))
    if seen.distrust == "name":
        name = next((each for each in seen.names.split(", ") if each and not each.startswith("*")), "NAME")
        return _TLS(
            f"The certificate at {at} is for {seen.names or 'another name'}, and not for {place.hostname}.",
            _endpoint(facts, f"https://{name}:{place.port or 443}"),
        )
    if seen.distrust == "expired":
        return _TLS(
            f"The certificate at {at} is not valid now: {seen.problem}.",
            "date    # if it is right, renew the collector's certificate",
        )
    if seen.distrust:
        return _TLS(
            f"The certificate at {at} is of an authority that is not trusted: {seen.problem}.",
            assign(facts, "certificate", "/etc/ssl/collector-ca.pem", "the file of that authority"),
        )
    if seen.client:
        files = {"client_certificate": "/etc/ssl/client.pem", "client_key": "/etc/ssl/client-key.pem"}
        return _CLIENT(
            f"{at} wants a certificate of the client's: {seen.problem}.",
            "\n".join(assign(facts, name, file) for name, file in files.items()),
        )
    return None


def _wrong_answer(facts: Facts, probe: Probe, seen: Look) -> Finding:
    outcome, kind = probe.outcome, probe.outcome.kind
    place = urlsplit(probe.url)
    at = place.netloc
    if probe.protocol == "grpc" and seen.speaks == "http/1.1":
        what = f"{at} speaks HTTP/1.1, and is spoken to by gRPC."
        return _PROTOCOL(what, assign(facts, "protocol", "http/protobuf"))
    if probe.protocol != "grpc" and seen.speaks == "http/2" and not kind.isdecimal():
        what = f"{at} speaks HTTP/2 alone, as gRPC does, and is spoken to by HTTP/1.1."
        return _PROTOCOL(what, assign(facts, "protocol", "grpc"))
    if kind in _TOKENS:
        return _TOKEN(
            f"{at} answers {kind}: {_sentence(outcome.detail)}.",
            assign(facts, "headers", "authorization=Bearer%20TOKEN", "the token that the collector knows"),
        )
    if kind in _PATHS:
        return _PATH(f"{probe.url} answers {kind}: no OTLP receiver is there.", _receiver(facts, place))
    if kind in _TIMEOUTS:
        return _SLOW(f"{at} takes the connection and does not answer in time.", f"curl -sv -X POST {probe.url}")
    look = f"curl -si -X POST {probe.url} | head"
    if seen.speaks == "something else" or "no answer of OTLP" in outcome.detail or kind == "UNIMPLEMENTED":
        return _OTHER(f"What answers at {at} is no OTLP receiver: {_sentence(outcome.detail)}.", look)
    return _UNWILLING(f"{at} answers {kind}: {_sentence(outcome.detail)}.", look)


def _off(facts: Facts, probe: Probe) -> str:
    """What exports no more of a signal that is not taken."""
    setting, value = {"metrics": ("metrics_exporter", "none"), "logs": ("logs", "correlate")}[probe.signal]
    variable = f"OTEL_EXPORTER_OTLP_{probe.signal.upper()}_ENDPOINT"
    return assign(facts, setting, value, f"or send them to a place that takes them: {variable}")


def _endpoint(facts: Facts, base: str, comment: str = "") -> str:
    """A line that sets the endpoint, by whichever setting has it now."""
    if facts.settings is not None and facts.settings.traces_endpoint:
        path = "" if facts.settings.protocol == "grpc" else "/v1/traces"
        return assign(facts, "traces_endpoint", base + path, comment)
    return assign(facts, "endpoint", base, comment)


def _receiver(facts: Facts, place: SplitResult) -> str:
    """Where the receiver is most probably: at the path of OTLP, or beside the pages of our collector and of Jaeger."""
    port = 4318 if place.port == _PAGES else place.port
    return _endpoint(facts, f"{place.scheme}://{place.hostname}" + (f":{port}" if port else ""))


def _sentence(detail: str) -> str:
    return detail.rstrip(". ") or "no explanation"
