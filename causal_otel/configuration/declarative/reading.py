"""What has been read of a configuration file: settings with the paths of their keys, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.configuration.checking import checked
from causal_otel.configuration.source import Source
from causal_otel.settings import SettingError, Settings, table
from causal_otel.settings.given import Given, Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from causal_otel._internal.setting_types import Kind
    from causal_otel.configuration.declarative.sections import Section

__all__ = ["Reading"]

_NO_SUCH_THING = "causal_otel has nothing like it"


class Reading:
    """Collects what a file says.

    Args:
        place: the path of the file.

    Attributes:
        values: of settings, by name.
        of_metrics: of settings for the export of metrics alone; None: the file has none.
        patch_options: by patch and option.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.values: dict[str, Any] = {}
        self.of_metrics: dict[str, Any] | None = None
        self.patch_options: dict[str, dict[str, Given]] = {}
        self._given: dict[str, tuple[Given, ...]] = {}
        self._refused: list[str] = []
        self._settings = {setting.name: setting for setting in table()}

    def give(self, name: str, value: object, path: str) -> None:
        """Note the value of a setting, which stands at ``path``; one that is not allowed is refused."""
        value = self.allowed(name, value, path)
        if value is not None:
            self.values[name] = value
            self._given[name] = (Given(path, value, Origin.FILE, self.place),)

    def allowed(self, name: str, value: object, path: str) -> Any:
        """The value of a setting; None: there is none, or it is refused."""
        if value is None:
            return None
        try:
            return checked(self._settings[name], value, path)
        except SettingError as error:
            self._refused.append(str(error))
            return None

    def take(self, section: Section, names: Mapping[str, str]) -> None:
        """Take the keys of a section that are settings as they are.

        Args:
            section: of the file.
            names: of settings, by key.
        """
        for key, name in names.items():
            self.give(name, section.take(key), section.name(key))

    def take_times(self, section: Section, names: Mapping[str, str]) -> None:
        """The same of times, which are milliseconds there."""
        for key, name in names.items():
            value = section.take(key)
            self.give(name, None if value is None else value / 1000, section.name(key))

    def parsed(self, kind: Kind, text: str | None, path: str) -> Any:
        """What a text of a variable's form says; nothing, if there is none or it is refused."""
        try:
            return kind.parse(text or "")
        except ValueError:
            self.refuse(path, f"it must be {kind.allowed}")
            return {}

    def assume(self, name: str, path: str) -> None:
        """Note that a section which leaves a setting out means the default, whatever other sources say."""
        if name not in self.values:
            value = getattr(Settings(), name)
            self.values[name], self._given[name] = value, (Given(path, value, Origin.FILE, self.place),)

    def refuse(self, path: str, why: str) -> None:
        """Note that we cannot do what a key asks for."""
        self._refused.append(f"{path}: {why}")

    def source(self, left: Iterable[str]) -> Source:
        """All of it.

        Args:
            left: the paths of the keys that nobody has taken.

        Raises:
            SettingError: something is refused. The message names all of it.
        """
        refused = [*self._refused, *(f"{path}: {_NO_SUCH_THING}" for path in left)]
        if refused:
            lines = "".join(f"\n  {line}" for line in refused)
            raise SettingError(
                f"{self.place} asks for what causal_otel does not do:{lines}\n"
                "Take these keys out of the file, or have another process do it, such as a collector"
            )
        return Source(self.values, self._given, self.patch_options, self.of_metrics)
