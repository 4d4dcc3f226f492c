"""What the tests of configuration share."""

from __future__ import annotations

import jsonschema  # type: ignore[import-untyped]
import pytest


@pytest.fixture(autouse=True)
def _known_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema itself is checked whenever a file is checked by it, which takes longer than all else here."""
    monkeypatch.setattr(jsonschema.Draft202012Validator, "check_schema", lambda *_, **__: None)
