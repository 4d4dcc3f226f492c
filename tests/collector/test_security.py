"""Who may ask a collector: the token, host names, other sites, headers, and what a setting makes safe."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from causal_otel.collector.config import CollectorSettings, is_loopback
from causal_otel.collector.failed_logins import FailedLogins
from causal_otel.collector.security import HEADERS, Access
from causal_otel.collector.tokens import Tokens, cookie_of
from causal_otel.settings import SettingError
from tests.collector.guarded import TOKEN, guarded_app
from tests.patches.http_server import serve


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A guarded application that asks for :data:`TOKEN`, and is patient with wrong ones."""
    with serve(guarded_app(Access(Tokens(TOKEN), failed_logins=FailedLogins(first=0)))) as found:
        yield found


@pytest.fixture(scope="module")
def open_url() -> Iterator[str]:
    """A guarded application on loopback that asks for nothing."""
    with serve(guarded_app(Access())) as found:
        yield found


def _get(url: str, path: str = "/", **headers: str) -> httpx.Response:
    given = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    return httpx.get(url + path, headers=given, trust_env=False)


# -- the token ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer  {TOKEN}"},
        {"x_causal_otel_token": TOKEN},
        {"X_Causal_Otel_Token": TOKEN},
        {"cookie": f"other=1; {cookie_of(TOKEN).name}={cookie_of(TOKEN).value}"},
    ],
)
def test_token_opens(url: str, headers: dict[str, str]) -> None:
    """The token is taken as a bearer, in a header of our own, and in its cookie's disguise."""
    assert _get(url, **headers).text == "hello /"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": f"Bearer {cookie_of(TOKEN).value}"},
        {"x_causal_otel_token": ""},
        {"x_causal_otel_token": "\xff\xfe"},
        {"cookie": f"{cookie_of(TOKEN).name}={TOKEN}"},
        {"cookie": f"{cookie_of('another').name}={cookie_of('another').value}"},
    ],
)
def test_anything_else_does_not(url: str, headers: dict[str, str]) -> None:
    """Without the token, with a part of it or with more, the answer is 401 and says what to send, never the token."""
    response = _get(url, **headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert "in the header Authorization, after the word Bearer, or in " in response.text
    assert TOKEN not in response.text + str(response.headers)


def test_token_in_the_address_is_no_token(url: str) -> None:
    """A token in a query string, where logs would keep it, is not looked at."""
    assert _get(url, f"/?token={TOKEN}").status_code == 401


def test_token_is_not_shown() -> None:
    """Neither the settings' nor the access's text has the token."""
    settings = CollectorSettings.load({"token": TOKEN}, {})
    assert TOKEN not in repr(Access.of(settings))
    assert TOKEN not in repr(settings)


# -- the login page -----------------------------------------------------------------------------------------------


def test_browser_is_sent_to_the_login_page_and_back(url: str) -> None:
    """A page without the cookie leads to the login; the token there sets the cookie and leads to the page."""
    with httpx.Client(base_url=url, trust_env=False) as browser:
        sent = browser.get("/trace/1?a=b&c", headers={"accept": "text/html,*/*"})
        assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=%2Ftrace%2F1%3Fa%3Db%26c")
        form = browser.get(sent.headers["location"])
        assert form.status_code == 200
        assert 'value="/trace/1?a=b&amp;c"' in form.text
        wrong = browser.post("/login", data={"token": "wrong", "next": "/trace/1"}, headers={"origin": url})
        assert wrong.status_code == 401
        assert "set-cookie" not in wrong.headers
        right = browser.post("/login", data={"token": TOKEN, "next": "/trace/1?a=b&c"}, headers={"origin": url})
        assert (right.status_code, right.headers["location"]) == (303, "/trace/1?a=b&c")
        cookie = right.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "secure" not in cookie
        assert TOKEN not in cookie
        assert browser.get("/trace/1").text == "hello /trace/1"
        assert browser.get("/login?next=/x").headers["location"] == "/x"


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "/\t/evil.example", "evil", ""]
)
def test_login_leads_nowhere_else(url: str, target: str) -> None:
    """Whatever the address asks for, the login leads to a page of ours."""
    response = httpx.post(f"{url}/login", data={"token": TOKEN, "next": target}, trust_env=False)
    assert (response.status_code, response.headers["location"]) == (303, "/")


def test_long_login_is_not_read(url: str) -> None:
    """A form of megabytes, which anybody could send, is no login."""
    response = httpx.post(f"{url}/login", content=b"token=" + bytes(4_000_000), trust_env=False)
    assert response.status_code == 401


# -- names and sites ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:16686", 200),
        ("localhost", 200),
        ("LOCALHOST.:80", 200),
        ("[::1]:16686", 200),
        ("192.168.1.7", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:16686", 403),
        ("evil.example@localhost", 200),  # the part before @ is no host
        ("[::1", 403),
        ("", 403),
    ],
)
def test_only_expected_names(open_url: str, host: str, status: int) -> None:
    """A request under a name that somebody pointed at this machine is refused; nobody can point an address."""
    response = _get(open_url, host=host)
    assert response.status_code == status
    if status == 403:
        assert "--allowed-host" in response.text


def test_names_that_settings_allow() -> None:
    """The configured host and the allowed ones are names; a collector on all addresses takes any until it is told."""

    def access(**options: str | list[str]) -> Access:
        return Access.of(CollectorSettings.load({"token": TOKEN, "insecure": "true", **options}, {}))

    named = access(host="Traces.example", allowed_host=["a.example", "B.example"])
    for host in ("traces.example:1", "a.example", "b.example", "localhost"):
        assert named.expects(host)
    assert not named.expects("c.example")
    assert access(host="0.0.0.0").expects("any.example")
    assert access(host="::").expects("any.example")
    strict = access(host="0.0.0.0", allowed_host="a.example")
    assert strict.expects("a.example")
    assert not strict.expects("any.example")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://collector.localhost:1", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
        ("http://127.0.0.1", 403),
        ("ftp://{host}", 403),
        ("http://{host}", 200),
        ("https://{host}", 200),
    ],
)
def test_other_sites_cannot_post(open_url: str, origin: str | None, status: int) -> None:
    """A POST that a page of another origin makes a browser send is refused; reading is up to the browser."""
    headers = {} if origin is None else {"origin": origin.format(host=open_url.removeprefix("http://"))}
    assert httpx.post(f"{open_url}/post", content=b"abc", headers=headers, trust_env=False).status_code == status
    read = httpx.get(open_url, headers=headers, trust_env=False)
    assert read.status_code == 200
    assert not [name for name in read.headers if name.startswith("access-control-")]


def test_every_answer_has_the_headers(url: str) -> None:
    """Pages, refusals and redirects alike forbid everything inline and foreign, sniffing, and telling others."""
    for path, headers in (
        ("/", {"x_causal_otel_token": TOKEN}),
        ("/", {}),
        ("/", {"accept": "text/html"}),
        ("/login", {}),
    ):
        response = _get(url, path, **headers)
        for name, value in HEADERS.items():
            if path != "/login" or name != "Content-Security-Policy":  # pages have one of their own
                assert response.headers[name] == value
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'" in policy
        assert "unsafe" not in policy


# -- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "traces.example", "localhost.example"])
def test_reachable_address_needs_a_token_and_encryption(host: str) -> None:
    """An address that others reach is refused without a token, and without TLS unless somebody insists."""
    with pytest.raises(SettingError, match="CAUSAL_OTEL_COLLECTOR_TOKEN"):
        CollectorSettings.load({"host": host}, {})
    with pytest.raises(SettingError, match="--tls-cert and --tls-key, or --insecure"):
        CollectorSettings.load({"host": host, "token": TOKEN}, {})
    assert CollectorSettings.load({"host": host, "token": TOKEN, "insecure": "true"}, {}).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.5.5", "::1", "localhost", "LocalHost"])
def test_loopback_needs_nothing(host: str) -> None:
    """On an address of this machine alone nothing is asked for."""
    assert is_loopback(host)
    assert CollectorSettings.load({"host": host}, {}).token == ""
