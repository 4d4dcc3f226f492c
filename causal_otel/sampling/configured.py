"""The sampler that the settings ask for, and what keeps it up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import sampling

from causal_otel._internal.log import logger
from causal_otel._internal.setting_types import remote_sampler
from causal_otel.engine.samplers import EachSpanSampler, RuleSampler
from causal_otel.sampling.described import default_rules, share_of_all

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler

    from causal_otel.sampling.status import SamplingStatus
    from causal_otel.sampling.watch import Watch
    from causal_otel.settings import Settings

__all__ = ["Sampling"]

_logger = logger()
_RULES = "parentbased_rules"


class Sampling:
    """Which traces are recorded.

    Args:
        settings: say so, or whom to ask.
        service: the service's name, for strategies that tell services apart.

    Attributes:
        sampler: for the provider.
    """

    def __init__(self, settings: Settings, service: str) -> None:
        self._watch: Watch | None = None
        self.sampler: Sampler
        chosen = "always_on" if settings.keep_errors == "collector" else settings.sampler
        self._name = "keep_errors=collector" if chosen != settings.sampler else chosen
        self._words = share_of_all(0.0 if chosen.endswith("always_off") else 1.0).words
        if chosen == _RULES:
            self.sampler = self._by_rules(settings, service)
        elif chosen.endswith("jaeger_remote"):
            self.sampler = self._remote(settings, service)
        elif chosen.endswith("traceidratio"):
            described = share_of_all(1.0 if settings.sampler_arg is None else float(settings.sampler_arg))
            self._words = described.words
            self.sampler = (EachSpanSampler if chosen == "traceidratio" else RuleSampler)(described.rules)
        else:
            self.sampler = {
                "always_on": sampling.ALWAYS_ON,
                "always_off": sampling.ALWAYS_OFF,
                "parentbased_always_on": sampling.DEFAULT_ON,
                "parentbased_always_off": sampling.DEFAULT_OFF,
            }[chosen]
        if settings.sampling_file and chosen != _RULES:
            _logger.warning("the sampling file is not read, since %s says what to record", self._name)

    def _by_rules(self, settings: Settings, service: str) -> RuleSampler:
        described = default_rules()
        self._words = described.words
        sampler = RuleSampler(described.rules)
        place = settings.sampling_file
        if place:
            from causal_otel.sampling.rules import of_file
            from causal_otel.sampling.sources import FileSource, UrlSource
            from causal_otel.sampling.watch import Watch

            local = "://" not in place
            source = FileSource(Path(place).absolute()) if local else UrlSource(place)
            self._watch = Watch(sampler, source, lambda data: of_file(data, service), described)
            if local:
                self._watch.look()
        return sampler

    def _remote(self, settings: Settings, service: str) -> RuleSampler:
        from causal_otel.sampling.rules import of_answer
        from causal_otel.sampling.sources import RemoteSource
        from causal_otel.sampling.watch import Watch

        remote = remote_sampler(str(settings.sampler_arg or ""))
        first = share_of_all(remote.share)
        sampler = (RuleSampler if settings.sampler.startswith("parentbased") else EachSpanSampler)(first.rules)
        source = RemoteSource(remote.endpoint, service, remote.interval)
        self._watch = Watch(sampler, source, of_answer, first)
        return sampler

    def status(self) -> SamplingStatus:
        """What is in force."""
        from causal_otel.sampling.status import SamplingStatus

        return SamplingStatus(self._name, self._words) if self._watch is None else self._watch.status()

    def close(self) -> None:
        """Ask nobody any more."""
        if self._watch is not None:
            self._watch.close()
