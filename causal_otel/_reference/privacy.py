"""``docs/reference/privacy.md``, from the rules, the patches' declarations and the table of settings: ``make docs``."""

from __future__ import annotations

from causal_otel._internal.secrets import ENDINGS, EXACT, PARAMETERS, RULES, Rule
from causal_otel.causality import recorded
from causal_otel.export.privacy import Policy
from causal_otel.instrument.registry import BUILT_IN
from causal_otel.settings import table

__all__ = ["reference"]

_SETTINGS = ("redact", "redact_keys", "redact_patterns", "baggage_hosts", "baggage_max_bytes")

_INTRODUCTION = """\
# Privacy

Written by `make docs`; do not edit.

Two things leave the process: what the patches record, listed below, and what you record yourself. Both go
through one redaction policy on their way out: names, attributes, events, exceptions, links and status descriptions of
spans, the resource, and what we log; with `logs="export"` also your log records: their message, the attributes that
`extra` has given, exceptions and stack traces. That holds for OTLP, the spool on disk and the console. Your own span
processors and exporters read the redacted values as well; inside the process the span keeps what was set. A secret
is replaced by `[redacted:rule]`, and what stands around it stays. `causal_otel.status().redacted` counts by rule.

On a tracer provider of your own (`install(tracer_provider=...)`) the policy applies to our log and to our `Worker`, if
you use that. Your exporters send what was recorded, unredacted.

## What is recorded

| patch | attributes | never |
|---|---|---|
"""

_EXCEPTIONS = """
Of an exception that leaves a span of yours, a request or a task, its class, its message, and file, line and function of
each frame are recorded, and the same of its causes. Source lines and local variables never are. Message and places go
through the policy. A client's spans tell an error's class or code, and no message.

## What is taken out

| rule | takes out | for example |
|---|---|---|
"""

_WORDS = """
Words for secrets are compared without regard to case, `-`, `_` and digits at the end. Of a key with dots the last part
counts.

* as such: {exact}
* at the end of a name: {endings}
* as a parameter in a URL's query: {parameters}, and what ends in `signature`

In a statement whose literals a patch has taken out these words are names of columns (`s.token = u.token`) and tell
nothing, unless they stand in quotes.

Looking takes time in proportion to a text's length, whatever is in it, and is done once for each value that repeats.
Should the policy itself fail, all of the value is replaced by `[redacted:fault]`.

## How to change it

| argument | variable | what it does |
|---|---|---|
"""

_ENDING = """
For example `install(redact=["-card"], redact_keys=["iban"], redact_patterns=[r"EMP\\d{6}"])`. Patterns of yours are run
on every text that is new: keep them simple. What the patches do not record in the first place does not depend on any
setting.

## Baggage

Baggage is recorded only where you copy it to attributes, and goes through the policy then like any other. With HTTP
requests it leaves the process to the hosts in `baggage_hosts` only, each redirect checked anew. It travels in the
messages of Celery, whose broker is given the arguments of your tasks as well, and in what `causal_otel.inject()` and
OpenTelemetry's `propagate.inject()` write, since there you say where it goes. Baggage that comes in is read up to
`baggage_max_bytes` and 180 entries (W3C Baggage); malformed entries are left out and not logged.
"""


def reference() -> str:
    """The page, in Markdown."""
    page = _INTRODUCTION
    for name, registered in BUILT_IN.items():
        patch = registered.load()
        page += f"| `{name}` | {_codes(patch.records)} | {'; '.join(patch.never)} |\n"
    page += f"| any span | {_codes(recorded.RECORDED)} | {'; '.join(recorded.NEVER)} |\n"
    page += _EXCEPTIONS
    page += "".join(_rule(rule) for rule in RULES)
    page += _WORDS.format(exact=_codes(sorted(EXACT)), endings=_codes(ENDINGS), parameters=_codes(sorted(PARAMETERS)))
    for setting in table():
        if setting.name in _SETTINGS:
            variables = _codes(setting.metadata["variables"])
            page += f"| `{setting.name}` | {variables} | {setting.metadata['help']} |\n"
    return page + _ENDING


def _rule(rule: Rule) -> str:
    policy = Policy()
    examples = [f"`{policy.text(example)}`".replace("\n", " ") for example in rule.examples]
    return f"| `{rule.name}` | {rule.what} | {', '.join(examples)} |\n"


def _codes(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
