"""The certificates that deploy/certificates.sh makes, in the eyes of openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.interop.running import certificates, needed


def test_certificates_are_good_and_can_be_renewed(tmp_path: Path) -> None:
    """What the script makes is signed, and names the services; run again, it renews that and keeps the authority."""
    folder = tmp_path / "certs"
    made: list[tuple[bytes, bytes]] = []
    for _ in range(2):
        certificates(folder, "traces.example.com")
        made.append(((folder / "ca.crt").read_bytes(), (folder / "server.crt").read_bytes()))
    assert made[0][0] == made[1][0]
    assert made[0][1] != made[1][1]
    for role in ("server", "client"):
        certificate = folder / f"{role}.crt"
        verified = _openssl("verify", "-purpose", f"ssl{role}", "-CAfile", folder / "ca.crt", certificate)
        assert verified == f"{certificate}: OK\n"
        names = _openssl("x509", "-noout", "-ext", "subjectAltName", "-in", certificate)
        assert all(f"DNS:{name}" in names for name in ("otelcol", "jaeger", "localhost", "traces.example.com"))


def _openssl(*arguments: str | Path) -> str:
    return subprocess.run(
        [needed("openssl"), *arguments], check=True, capture_output=True, text=True, timeout=60
    ).stdout
