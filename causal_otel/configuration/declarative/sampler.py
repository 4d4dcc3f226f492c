"""The samplers of the file, as the settings ``sampler`` and ``sampler_arg`` have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from causal_otel.configuration.declarative.reading import Reading
    from causal_otel.configuration.declarative.sections import Section

__all__ = ["read_sampler"]

_RATIOS = ("trace_id_ratio_based", "probability", "probability/development")
"""All of them sample a share of the traces by their ids. Ours writes it into the context, as ``probability`` does."""
_CHILDREN = {
    "remote_parent_sampled": "always_on",
    "local_parent_sampled": "always_on",
    "remote_parent_not_sampled": "always_off",
    "local_parent_not_sampled": "always_off",
}
"""What a sampler based on the parent does of children here, which is OpenTelemetry's default."""
_REMOTE = "jaeger_remote/development"


class _Sampler(NamedTuple):
    name: str
    argument: float | str | None = None


def read_sampler(tracer_provider: Section, reading: Reading) -> None:
    """Read the sampler of spans; what is left out is what OpenTelemetry says, not our default."""
    path = tracer_provider.name("sampler" if "sampler" in tracer_provider else "sampler (absent)")
    section = tracer_provider.section("sampler")
    sampler = _read(section, reading) if section else _Sampler("parentbased_always_on")
    if sampler is not None:
        reading.give("sampler", sampler.name, path)
        reading.give("sampler_arg", sampler.argument, path)


def _read(section: Section, reading: Reading) -> _Sampler | None:
    """A sampler; None: it is refused."""
    for name in ("always_on", "always_off"):
        if name in section:
            section.take(name)
            return _Sampler(name)
    for name in _RATIOS:
        if name in section:
            ratio = section.section(name).take("ratio")
            return _Sampler("traceidratio", 1.0 if ratio is None else float(ratio))
    if "composite/development" in section:
        return _read(section.section("composite/development"), reading)
    if "parent_threshold" in section:
        return _based_on_parent(section.section("parent_threshold"), reading)
    if "parent_based" in section:
        return _based_on_parent(section.section("parent_based"), reading)
    return _remote(section.section(_REMOTE), reading) if _REMOTE in section else None


def _based_on_parent(section: Section, reading: Reading) -> _Sampler | None:
    for key, expected in _CHILDREN.items():
        if key in section and _read(section.section(key), reading) != _Sampler(expected):
            reading.refuse(section.name(key), f"it can be {expected} only")
    path, root = section.name("root"), section.section("root")
    sampler = _read(root, reading) if root else _Sampler("always_on")
    if sampler is not None and sampler.name.startswith("parentbased_"):
        reading.refuse(path, "it is based on the parent once more")
        return None
    return None if sampler is None else sampler._replace(name=f"parentbased_{sampler.name}")


def _remote(section: Section, reading: Reading) -> _Sampler | None:
    endpoint, interval = section.take("endpoint"), section.take("interval")
    initial = _read(section.section("initial_sampler"), reading)
    shares = {"always_on": 1.0, "always_off": 0.0}
    if initial is not None and initial.name not in (*shares, "traceidratio"):
        reading.refuse(section.name("initial_sampler"), "it can be always_on, always_off or a ratio")
        return None
    options = [f"endpoint={endpoint}"]
    if interval is not None:
        options.append(f"pollingIntervalMs={interval}")
    if initial is not None:
        options.append(f"initialSamplingRate={shares.get(initial.name, initial.argument)}")
    return _Sampler("jaeger_remote", ",".join(options))
