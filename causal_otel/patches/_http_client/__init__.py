"""What the patches of HTTP clients share: where a request goes, how an attempt at it begins and how it ends."""

from __future__ import annotations
