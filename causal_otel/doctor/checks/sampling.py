"""Whether what somebody looks for is recorded at all."""

from __future__ import annotations

from collections.abc import Iterator

from causal_otel.doctor.facts import Facts
from causal_otel.doctor.finding import Finding, Kind, Severity
from causal_otel.doctor.fixes import assign

__all__ = ["KINDS", "check"]

_NOTHING = Kind(
    "sampled-out",
    Severity.ERROR,
    "The sampler records nothing, or nothing of what is looked for.",
    "No such trace can ever be found.",
)
_SOURCE = Kind(
    "sampling-source",
    Severity.ERROR,
    "The rules of sampling cannot be read.",
    "What is recorded is not what the file or the server says.",
)
_SOME = Kind(
    "sampled-in-part",
    Severity.WARNING,
    "Of what is looked for, only a part is recorded.",
    "A certain request may be missing, though everything else is in order.",
)
_RULE = Kind(
    "sampling-rule-ignored",
    Severity.WARNING,
    "Part of the rules of sampling is left out.",
    "What it was meant to record or to drop is treated as everything else.",
)
_NO_PARENT = Kind(
    "sampler-ignores-parents",
    Severity.WARNING,
    "The sampler decides about every span for itself.",
    "Traces have holes: a request may be recorded without its queries, and tasks without their requests.",
)
_SHARE = Kind(
    "sampled-share",
    Severity.NOTE,
    "Only a share of all traces is recorded.",
    "A certain request may be missing.",
)

KINDS = (_NOTHING, _SOURCE, _SOME, _RULE, _NO_PARENT, _SHARE)

_ALL = "parentbased_always_on"
_NO_FALLBACK = ("traceidratio", "jaeger_remote")


def check(facts: Facts) -> Iterator[Finding]:
    """Look at the sampler."""
    share, what = facts.share, facts.operation or "all requests"
    sampler = "" if facts.settings is None else facts.settings.sampler
    sampling = None if facts.observed is None else facts.observed.status.sampling
    if share == 0:
        yield _NOTHING(f"The sampler {sampler} records nothing of {what}.", assign(facts, "sampler", _ALL))
    elif share is not None and share < 1:
        kind = _SOME if facts.operation else _SHARE
        yield kind(
            f"The sampler {sampler} records about {share:.1%} of {what}.",
            assign(facts, "sampler", _ALL, "or keep what fails: TRACING_KEEP_ERRORS=process"),
        )
    if sampling is not None:
        if sampling.problem:
            yield _SOURCE(f"{sampling.source}: {sampling.problem}.", _checked(facts))
        for warning in sampling.warnings:
            yield _RULE(f"{sampling.source}: {warning}.", _checked(facts))
    if facts.settings is None or not facts.settings.wanted:
        return
    if sampler in _NO_FALLBACK and share:
        yield _NO_PARENT(f"The sampler is {sampler}.", assign(facts, "sampler", f"parentbased_{sampler}"))
    if facts.settings.sampling_file and sampler != "parentbased_rules":
        yield _RULE(
            f"TRACING_SAMPLING_FILE is not read, because the sampler is {sampler}.",
            assign(facts, "sampler", "parentbased_rules"),
        )


def _checked(facts: Facts) -> str:
    place = "" if facts.settings is None else facts.settings.sampling_file
    if place and "://" not in place:
        return f"causal-otel sampling check {place}"
    return f"curl -i {place}" if place else "curl -i http://localhost:5778/sampling?service=shop-api"
