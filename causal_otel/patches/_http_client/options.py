"""The options that the patches of HTTP clients share."""

from __future__ import annotations

from dataclasses import dataclass

from causal_otel.instrument.options import ClientOptions

__all__ = ["HttpClientOptions"]


@dataclass(frozen=True, kw_only=True)
class HttpClientOptions(ClientOptions):
    """The options of a patch for a client of HTTP: what each does is said where the patch's are."""

    by_url = True
    propagate_to: tuple[str, ...] = ("*",)
    do_not_propagate_to: tuple[str, ...] = ()
    url_templates: tuple[str, ...] = ()
