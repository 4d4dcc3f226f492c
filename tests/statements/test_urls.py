"""URLs without secrets."""

from __future__ import annotations

import pytest

from causal_otel.statements.urls import redact_url


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("https://h/a@b", "https://h/a@b"),
        ("https://h/?q=a@b&n=1", "https://h/?q=a@b&n=1"),
        ("https://user@h/", "https://REDACTED:REDACTED@h/"),
        ("https://h/?AWSAccessKeyId=1&Signature=2", "https://h/?AWSAccessKeyId=REDACTED&Signature=REDACTED"),
        ("https://h/?x-goog-signature=1;pass%77ord=2", "https://h/?x-goog-signature=REDACTED;pass%77ord=REDACTED"),
        ("https://h/?next=/back?access_token=1", "https://h/?next=/back?access_token=REDACTED"),
        ("https://h/cb#id_token=1", "https://h/cb#id_token=REDACTED"),
        ("https://h/?clientSecret=1&refresh_token=2", "https://h/?clientSecret=REDACTED&refresh_token=REDACTED"),
        ("https://h/?token=&monkey=1", "https://h/?token=&monkey=1"),
    ],
)
def test_urls_are_redacted(url: str, redacted: str) -> None:
    """Credentials before the host go, values of secret parameters go, all else stays byte for byte."""
    assert redact_url(url) == redacted
