"""OTLP over HTTP: one attempt, and what its answer is taken to mean; with real sockets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from causal_otel.transports.otlp_http import HttpTransport
from causal_otel.transports.transport import Verdict, partial_success, seconds_to_wait
from tests.export.requests import PAYLOAD, soon
from tests.faults.scripted import Action, answer, hang, partial, refused_port, reset, scripted, trickle, trickle_headers

pytestmark = pytest.mark.usefixtures("no_otel_variables")


class TestHttp:
    @pytest.mark.parametrize(
        ("status", "verdict"),
        [
            (200, Verdict.DELIVERED),
            (202, Verdict.DELIVERED),
            (400, Verdict.REFUSED),
            (401, Verdict.MISCONFIGURED),
            (403, Verdict.MISCONFIGURED),
            (404, Verdict.MISCONFIGURED),
            (405, Verdict.MISCONFIGURED),
            (407, Verdict.MISCONFIGURED),
            (413, Verdict.TOO_LARGE),
            (422, Verdict.REFUSED),
            (429, Verdict.BUSY),
            (500, Verdict.REFUSED),
            (501, Verdict.REFUSED),
            (502, Verdict.BUSY),
            (503, Verdict.BUSY),
            (504, Verdict.BUSY),
        ],
    )
    def test_status(self, status: int, verdict: Verdict) -> None:
        """A status invites another attempt, a smaller one, a seldom one, or none; each is tried once here."""
        with scripted(answer(status)) as collector:
            outcome = HttpTransport(collector.url).send(PAYLOAD, soon())
            assert outcome.verdict is verdict
            assert outcome.kind == ("" if verdict is Verdict.DELIVERED else str(status))
            assert len(collector.requests) == 1
            assert collector.requests[0].body == PAYLOAD
            assert collector.requests[0].path == "/v1/traces"

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_redirect_is_not_followed(self, status: int) -> None:
        """A redirect is a mistake and explained, without its credentials; nothing goes to the other place."""
        with scripted() as other, scripted() as collector:
            location = other.url.replace("http://", "http://user:secret@") + "?token=secret"
            collector.then(answer(status, {"Location": location}))
            outcome = HttpTransport(collector.url).send(PAYLOAD, soon())
            assert outcome.verdict is Verdict.MISCONFIGURED
            assert other.url in outcome.detail
            assert "secret" not in str(outcome)
            assert not other.requests

    def test_partial_success(self) -> None:
        """The number of rejected spans and the reason are read from the answer."""
        with scripted(partial(3, "too old")) as collector:
            outcome = HttpTransport(collector.url).send(PAYLOAD, soon())
        assert (outcome.verdict, outcome.rejected, outcome.detail) == (Verdict.DELIVERED, 3, "too old")

    def test_explanation_of_a_refusal(self) -> None:
        """A refusal's body is shown: a google.rpc.Status as OTLP wants it, or text, shortened and on one line."""
        status = Status(code=3, message="no such tenant").SerializeToString()
        with scripted(
            answer(400, {"Content-Type": "application/x-protobuf"}, status),
            answer(401, {}, b"bad\ntoken\x00" + b"x" * 1000),
        ) as collector:
            transport = HttpTransport(collector.url)
            assert transport.send(PAYLOAD, soon()).detail == "no such tenant"
            detail = transport.send(PAYLOAD, soon()).detail
        assert detail.startswith("bad token x")
        assert len(detail) <= 300

    def test_retry_after(self) -> None:
        """Retry-After is read from a busy answer."""
        with scripted(answer(503, {"Retry-After": "7"})) as collector:
            assert HttpTransport(collector.url).send(PAYLOAD, soon()).retry_after == 7.0

    @pytest.mark.parametrize("action", [reset(), reset(b"HTTP/1.1 200 OK\r\nContent-Le")])
    def test_reset(self, action: Action) -> None:
        """A connection that breaks before the status is known, or in the middle of the headers, is nobody's answer."""
        with scripted(action) as collector:
            outcome = HttpTransport(collector.url).send(PAYLOAD, soon())
            assert outcome.verdict is Verdict.UNREACHABLE
            assert len(collector.requests) == 1

    def test_reset_after_the_status(self) -> None:
        """A connection that breaks in the body of a 200 has delivered: the request was taken."""
        with scripted(reset(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxx")) as collector:
            assert HttpTransport(collector.url).send(PAYLOAD, soon()).verdict is Verdict.DELIVERED

    def test_refused_connection(self) -> None:
        """Nobody listening is nobody's answer, and says so in words that people know."""
        with refused_port() as port:
            outcome = HttpTransport(f"http://127.0.0.1:{port}/v1/traces").send(PAYLOAD, soon())
        assert outcome.verdict is Verdict.UNREACHABLE
        assert "refused" in outcome.detail

    def test_hanging(self) -> None:
        """No answer by the deadline is nobody's answer."""
        with scripted(hang) as collector:
            outcome = HttpTransport(collector.url).send(PAYLOAD, soon(0.1))
        assert (outcome.verdict, outcome.kind) == (Verdict.UNREACHABLE, "timeout")

    def test_trickling_answer(self) -> None:
        """An answer that keeps coming byte by byte is left at the deadline."""
        with scripted(trickle) as collector:
            assert HttpTransport(collector.url).send(PAYLOAD, soon(0.3)).verdict is Verdict.DELIVERED
            assert not collector.over.is_set()

    def test_trickling_headers(self) -> None:
        """An answer whose headers never end is left at the deadline, and the next request goes on a new connection."""
        with scripted(trickle_headers, answer(200)) as collector:
            transport = HttpTransport(collector.url)
            outcome = transport.send(PAYLOAD, soon(0.3))
            assert (outcome.verdict, outcome.kind) == (Verdict.UNREACHABLE, "timeout")
            assert transport.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
            assert collector.connections == 2

    def test_no_time(self) -> None:
        """After the deadline nothing is sent."""
        with scripted() as collector:
            assert HttpTransport(collector.url).send(PAYLOAD, soon(-1)).verdict is Verdict.UNREACHABLE
            assert not collector.requests

    def test_connection_is_kept(self) -> None:
        """Requests share a connection, and one that the other side has closed meanwhile is replaced at once."""
        with scripted() as collector:
            transport = HttpTransport(collector.url)
            for _ in range(3):
                assert transport.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
            assert collector.connections == 1
            collector.then(reset(), answer(200))
            assert transport.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
            assert collector.connections == 2
            transport.close()

    def test_closed(self) -> None:
        """The connection that was kept is not, and there will be no other."""
        with scripted() as collector:
            transport = HttpTransport(collector.url)
            assert transport.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
            transport.close()
            collector.wait_until_left()
            assert transport.send(PAYLOAD, soon()).verdict is Verdict.UNREACHABLE
            assert collector.connections == 1

    @pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
    def test_headers_and_compression(self, compression: str) -> None:
        """Headers, content type and encoding are as configured; the user agent is the official exporter's."""
        with scripted() as collector:
            transport = HttpTransport(collector.url, headers={"Authorization": "Bearer x"}, compression=compression)
            assert transport.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
            request = collector.requests[0]
        assert request.body == PAYLOAD
        assert request.headers["authorization"] == "Bearer x"
        assert request.headers["content-type"] == "application/x-protobuf"
        assert request.headers.get("content-encoding", "none") == compression
        assert request.headers["user-agent"].startswith("OTel-OTLP-Exporter-Python/")

    def test_without_the_official_exporters_privates(self) -> None:
        """Where the official exporter keeps its session elsewhere, one of our own does the same."""

        class Elsewhere(HttpTransport):
            def _official(self) -> None:
                return None

        with scripted() as collector:
            transport = Elsewhere(collector.url, headers={"k": "v"}, compression="gzip")
            assert transport.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
            request = collector.requests[0]
        assert request.body == PAYLOAD
        assert (request.headers["content-type"], request.headers["k"]) == ("application/x-protobuf", "v")

    def test_session_that_signs_each_request(self) -> None:
        """A credential provider's session is used as it is, for each request anew."""

        class Signing(HttpTransport):
            def _official(self) -> tuple[requests.Session, dict[str, str]]:
                session, headers = self._own()
                numbers = iter("abc")

                def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
                    request.headers["Authorization"] = next(numbers)
                    return request

                session.auth = sign
                return session, headers

        with scripted(answer(200), answer(200), answer(302, {"Location": "/"}), hang) as collector:
            transport = Signing(collector.url, compression="gzip")
            verdicts = [transport.send(PAYLOAD, soon()).verdict for _ in range(3)]
            assert verdicts == [Verdict.DELIVERED, Verdict.DELIVERED, Verdict.MISCONFIGURED]
            assert [request.headers["authorization"] for request in collector.requests] == list("abc")
            assert [request.body for request in collector.requests] == [PAYLOAD] * 3
            assert collector.connections == 1
            transport.close()

    def test_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A proxy of the environment is asked for the whole URL, with its credentials; NO_PROXY goes around it."""
        with scripted() as proxy, scripted() as collector:
            monkeypatch.setenv("HTTP_PROXY", proxy.endpoint.replace("//", "//user:word@"))
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            far = HttpTransport("http://collector.invalid/v1/traces")
            assert far.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
            near = HttpTransport(collector.url)
            assert near.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
            assert [request.path for request in proxy.requests] == ["http://collector.invalid/v1/traces"]
            assert proxy.requests[0].headers["proxy-authorization"].startswith("Basic ")
            assert [request.path for request in collector.requests] == ["/v1/traces"]
            far.abandon()
            far.close()
            near.close()

    def test_credentials_in_the_url(self) -> None:
        """A user name and password in the endpoint become a header."""
        with scripted() as collector:
            transport = HttpTransport(collector.url.replace("//", "//user:word@"))
            assert transport.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
            assert collector.requests[0].headers["authorization"] == "Basic dXNlcjp3b3Jk"

    def test_abandoned(self) -> None:
        """A transport that was abandoned, as a forked child does, closes its connections and says nothing on them."""
        with scripted() as collector:
            transport = HttpTransport(collector.url)
            transport.send(PAYLOAD, soon())
            transport.abandon()
            assert transport.send(PAYLOAD, soon()).verdict is Verdict.DELIVERED
            assert (collector.connections, len(collector.requests)) == (2, 2)
            transport.close()


class TestReading:
    def test_retry_after(self) -> None:
        """Retry-After is a number of seconds or a date; nonsense is none."""
        begun = datetime.now(UTC)
        date = format_datetime(begun + timedelta(hours=1), usegmt=True)
        past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
        wait = seconds_to_wait(date)
        assert wait is not None
        elapsed = (datetime.now(UTC) - begun).total_seconds()
        assert 3599 - elapsed <= wait <= 3600  # a date has no fractions of a second
        assert seconds_to_wait(past) == 0
        assert seconds_to_wait("1.5") == 1.5
        assert seconds_to_wait("-3") == 0
        assert [seconds_to_wait(nonsense) for nonsense in (None, "", "soon", "inf", "nan")] == [None] * 5

    def test_partial_success(self) -> None:
        """A partial success without rejections is a warning; a negative number rejects nothing, nonsense is none."""
        message = ExportTraceServiceResponse()
        message.partial_success.error_message = "slow down"
        assert partial_success(message.SerializeToString()) == (0, "slow down")
        message.partial_success.rejected_spans = -5
        assert partial_success(message.SerializeToString()) == (0, "slow down")
        assert partial_success(b"") == (0, "")
        assert partial_success(b"\xff") is None
