"""What the pages of an operation and of a service show, as their addresses say it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

from causal_otel.collector import expressions, units
from causal_otel.collector.attributes import KINDS
from causal_otel.collector.figures import Selected
from causal_otel.collector.query import Query
from causal_otel.collector.trends.window import HOUR, Window
from causal_otel.collector.units import written_duration
from causal_otel.collector.web.addresses import with_parameters
from causal_otel.collector.web.box import Box, box_address
from causal_otel.collector.web.compare_groups import address as groups_address
from causal_otel.collector.web.forms import LOOKBACKS, NO_SYSTEM, SearchForm, lookback
from causal_otel.collector.web.templating import utc
from causal_otel.names import SERVICE_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from causal_otel.collector.expressions import Expression

__all__ = ["NO_VERSION", "OFFERED", "TrendState", "version_name", "written"]

NO_VERSION = "none"
"""The version of spans that tell none, as addresses have it."""

OFFERED = ("1h", "6h", "24h", "2d", "7d", "30d")
"""The look-backs that the pages offer."""

_DEFAULT = "7d"


@dataclass(frozen=True, slots=True)
class TrendState:
    """The state; the names are the address's parameters.

    Attributes:
        service: the service's name.
        operation: the span's name.
        kind: the span's kind; empty: any.
        system: what it talks to; :data:`~causal_otel.collector.web.forms.NO_SYSTEM`: nothing; empty: anything.
        lookback: a key of :data:`~causal_otel.collector.web.forms.LOOKBACKS`; ``start`` and ``end`` win over it.
        start: as :func:`~causal_otel.collector.units.moment` reads it.
        end: likewise; empty: now.
        version: only spans of this version, :data:`NO_VERSION`: of none; empty: of any.
        against: the version that it is compared with.
        moment: what is before it is compared with what is after it.
    """

    service: str = ""
    operation: str = ""
    kind: str = ""
    system: str = ""
    lookback: str = _DEFAULT
    start: str = ""
    end: str = ""
    version: str = ""
    against: str = ""
    moment: str = ""

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> TrendState:
        """The state that an address's parameters describe; what makes no sense is as by default, but for times."""
        given = {field.name: parameters.get(field.name, "") for field in fields(cls)}
        for name in ("kind", "lookback", "start", "end", "moment"):
            given[name] = given[name].strip()
        if given["lookback"] not in LOOKBACKS:
            given["lookback"] = _DEFAULT
        if given["kind"] not in KINDS:
            given["kind"] = ""
        return cls(**given)

    def address(self, path: str, **changes: str) -> str:
        """Where ``path`` shows this state after ``changes``."""
        keep = ("operation",) if path == "/operation" else ()  # a span may have no name
        return with_parameters(path, asdict(replace(self, **changes)), keep=keep)

    def fields(self, *names: str) -> list[tuple[str, str]]:
        """What a form has to keep: all parameters but ``names``."""
        return [
            (name, value)
            for name, value in asdict(self).items()
            if name not in names and (value or name == "operation")
        ]

    def window(self, now: int) -> Window:
        """The time that is shown.

        Args:
            now: Unix time in nanoseconds.

        Raises:
            ValueError: The start or the end is no time, or the end is before the start.
        """
        if not (self.start or self.end):
            return Window.back(lookback(self.lookback), now, minutes=True)
        end = units.moment(self.end) if self.end else now
        start = units.moment(self.start) if self.start else max(0, end - lookback(self.lookback))
        if end < start:
            raise ValueError("the end is before the start")
        return Window.around(start, end, now, minutes=True)

    def moment_in(self, window: Window) -> int | None:
        """The moment, to the hour or the minute; None if there is none.

        Raises:
            ValueError: It is no time, or not within the time that is shown.
        """
        if not self.moment:
            return None
        width = min(window.width, HOUR)
        moment = units.moment(self.moment) // width * width
        if not window.start < moment < window.end:
            raise ValueError("the moment is not within the time that is shown")
        return moment

    def selected(self, *, any_version: bool = False, entries: bool = False) -> Selected:
        """The series that are meant, those of the version or of all; or all that begin something in the service."""
        if entries:
            return Selected(self.service, version=None if any_version else version_name(self.version), entries=True)
        return Selected(
            service=self.service,
            operation=self.operation,
            kind=self.kind or None,
            system="" if self.system == NO_SYSTEM else self.system or None,
            version=None if any_version else version_name(self.version),
        )

    def query(self, window: Window) -> Query:
        """The search for their spans."""
        version = version_name(self.version)
        return Query(
            start=window.start,
            end=min(window.last, max(window.start, window.now)),
            service=self.service,
            operation=self.operation,
            kind=self.kind or None,
            system="" if self.system == NO_SYSTEM else self.system or None,
            where=None if version is None else _of_version(version),
        )

    def search(self, window: Window, **more: str) -> str:
        """The address of the search for their traces."""
        return self._form(window).address(**more)

    def different(self, window: Window, shortest: int) -> str:
        """The page of what is different in those that took so many nanoseconds or more."""
        return box_address(self._form(window), Box("", "", written_duration(shortest)))

    def groups(self, window: Window, moment: int | None, *, any_operation: bool = False) -> str:
        """The page that compares the traces of both versions, or those before and after a moment."""
        a = b = self._form(window)
        if moment is None:
            a = replace(self, version=self.against)._form(window)
        else:
            a = replace(a, end=utc(moment - 1, "%Y-%m-%dT%H:%M:%S.%f"))
            b = replace(b, start=written(moment))
        if any_operation:
            a, b = (replace(each, operation="") for each in (a, b))
        return groups_address(a, b)

    def _form(self, window: Window) -> SearchForm:
        version = version_name(self.version)
        tags = "" if version is None else expressions.written(_of_version(version))
        return SearchForm(
            service=self.service,
            operation=expressions.quoted(self.operation),
            kind=self.kind,
            system=self.system,
            tags=tags,
            start=written(window.start),
            end=written(window.end) if window.end <= window.now else "",
        )


def version_name(text: str) -> str | None:
    """A version as an address has it: None is any, an empty one is of spans that tell none."""
    return "" if text == NO_VERSION else text or None


def _of_version(version: str) -> Expression:
    """The condition on spans of a version; empty: of those that tell none."""
    if not version:
        return expressions.Not(expressions.Has(SERVICE_VERSION))
    return expressions.Compare(SERVICE_VERSION, "=", version)


def written(time: int) -> str:
    """A Unix time in nanoseconds as fields of forms have it."""
    return utc(time, "%Y-%m-%dT%H:%M")
