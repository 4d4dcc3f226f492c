"""The redaction policy: what it finds by the rules of :mod:`causal_otel._internal.secrets` is replaced.

There is one policy in a process, and one place where it is applied on each way out: the encoder, before it remembers an
attribute; :class:`~causal_otel.engine.span.Span`, when a processor or exporter reads it; the resource, when it is made;
and the log. Inside, attributes stay as they were set.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults, process
from causal_otel._internal.secrets import (
    KEY,
    PAIR,
    PATTERN,
    RULES,
    compiled,
    enabled_rules,
    is_secret,
    is_secret_parameter,
    plain,
)
from causal_otel.engine.redaction import Sanitised

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from causal_otel._internal.secrets import Rule

__all__ = ["FAULT", "Policy", "mark"]

FAULT = "fault"
"""The rule's name if the policy itself failed, and therefore hid the whole value."""

_KEYS = 4096
_CLEAN = 4096
_CLEAN_LENGTH = 256
"""How many keys and how many texts without a secret are cached, and the longest text that is."""
_DEEPEST = 64
"""How far values may stand inside each other."""
_SHORTEST = 12
"""Characters of the shortest text that holds a secret without ``=``, ``:`` or ``@``: credentials after ``Basic``."""
_LONGEST_NAME = 64
_CARDS = range(10**12, 10**19)

# Texts with a hint of a secret are few, so `re` compiles these when the first one comes.

# A name and what leads to its value. A run of signs for names is looked at once, from where it begins; what a URL has
# encoded, such as the quotes of JSON, is no part of a name.
_NAME = r"""(?x)
    (?: (?<![\w.-]) (?!(?<=%)[0-9A-Fa-f]{2}) | (?<=%[0-9A-Fa-f]{2}) ) (?P<option>--)? -? (?P<name>\w[\w.-]*+)
    (?: (?:%2[27]|\\{0,3}["']?)[ \t]{0,8}(?:=>?|:|%3[ADad])[ \t]{0,8}
      | ["'][ \t]{0,8},[ \t]{0,8}(?=[bu]?["'])              # a pair, as Python prints it
      | (?(option)[ \t]{1,8}(?=[^\s-])|(?!)) )               # an option of a command line
"""
_QUOTED = r"""
    \\{1,3}["'](?P<escaped>[^"'\\]*+)
  | [bBrRuU]?"(?P<double>(?:[^"\\]|\\.)*+)
  | [bBrRuU]?'(?P<single>(?:[^'\\]|\\.|'')*+)
"""
_VALUE = rf"""(?xs){_QUOTED}
  | (?P<bare>(?:(?i:bearer|basic|digest|token|apikey)(?:[ ]{{1,8}}|\+|%20))?[^\s&;,"'<>)\]}}]++)
"""
_LINE = rf"(?xs){_QUOTED} | (?P<bare>[^\r\n]++)"
_LINES = ("authorization", "cookie", "cookies")
"""Headers whose values have several words."""

_QUOTED_NAME = re.compile(r"""(["`])([^"`]*+)(["`]?)""")
"""A quoted name in a statement. A quote inside it, doubled or of the other kind, only splits it into several
matches."""

# What stands where a secret would: a parameter of a statement, or a mark of somebody who has redacted it already.
_HARMLESS = r"(?i)(?:\?|\$\d+|%s|%\(\w+\)s|\*+|\[redacted:[\w-]*\]?|redacted|null|none|true|false|)\Z"


def mark(rule: str) -> str:
    """What stands in the place of a secret that ``rule`` has found."""
    return f"[redacted:{rule}]"


class Policy:
    """Takes secrets out of what leaves the process. Safe from several threads; a forked child counts from zero.

    Args:
        rules: which are in force: see :func:`~causal_otel._internal.secrets.enabled_rules`.
        keys: more words for secrets, with which a key or name ends.
        patterns: more regular expressions; what they match goes.

    Raises:
        ValueError: there is no such rule, or a pattern is none, or matches the empty text.
    """

    def __init__(self, rules: Iterable[str] = ("all",), keys: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        active = enabled_rules(rules)
        self._by_key, self._by_name = KEY.name in active, PAIR.name in active
        self._rules = tuple(rule for rule in RULES if rule.name in active and rule not in (KEY, PATTERN))
        self._hints = tuple(hint for rule in self._rules if rule is not PAIR for hint in rule.hints)
        self._words = tuple(map(plain, keys))
        # Words of the user's may be spelled in many ways. The empty hint, which every text contains, has every name
        # looked at.
        self._name_hints: tuple[str, ...] = ()
        if self._by_name:
            self._name_hints = ("", *PAIR.hints) if self._words else PAIR.hints
        self._own = tuple(map(compiled, patterns)) if PATTERN.name in active else ()
        self._numbers = tuple(rule for rule in self._rules if not rule.hints)
        self._compiled: dict[str, re.Pattern[str]] = {}
        self._keys: dict[str, bool] = {}
        self._clean: set[str] = set()
        self._counts: dict[str, int] = {}
        self._reset()
        process.at_fork(in_child=self._reset)

    def _reset(self) -> None:
        self._counts = dict.fromkeys([rule.name for rule in RULES], 0)
        self._counts[FAULT] = 0

    def counts(self) -> dict[str, int]:
        """How often each rule has found something in this process, without those that never have.

        What is exported, printed and read by an exporter of yours counts each time.
        """
        return {rule: count for rule, count in self._counts.items() if count}

    def log_filter(self) -> logging.Filter:
        """Takes secrets out of what a logger is given, in messages and in tracebacks."""
        return _LogFilter(self)

    def value(self, key: str, value: Any) -> Any:
        """``value`` without secrets: the very same object where there is none. Never raises.

        Args:
            key: the attribute's.
            value: of any type; lists and mappings are looked into.
        """
        try:
            return self._value(key, value, 0)
        except Exception:
            return self._failed()

    def text(self, text: str) -> str:
        """``text`` without secrets: the very same object where there is none. Never raises."""
        try:
            return self._shown(text, 0)  # type: ignore[no-any-return]  # users give names of other types
        except Exception:
            return self._failed()

    def _failed(self) -> str:
        faults.report("privacy")
        return self._mark(FAULT)

    def _mark(self, rule: str) -> str:
        self._counts[rule] += 1
        return mark(rule)

    # -- values -------------------------------------------------------------------------------------------------

    def _value(self, key: str, value: Any, depth: int) -> Any:
        secret = self._keys.get(key)
        if secret is None:
            secret = self._by_key and self._is_secret(str(key))
            if len(self._keys) >= _KEYS:
                self._keys.clear()
            self._keys[key] = secret
        if secret and value is not None and type(value) is not bool:
            return value if _is_harmless(value) else self._mark(KEY.name)
        return self._shown(value, depth)

    def _is_secret(self, name: str) -> bool:
        name = name[-_LONGEST_NAME:]
        return is_secret(name) or (bool(self._words) and plain(name).endswith(self._words))

    def _shown(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._redacted(value)
        if kind is Sanitised:
            return self._statement(value)
        if kind is int:
            if value not in _CARDS:
                return value
            text = str(value)
            shown = self._redacted(text)
            return value if shown is text else shown
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, bytes):
            text = value.decode("latin-1")
            shown = self._redacted(text)
            return value if shown is text else shown.encode("latin-1")
        if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
            if depth >= _DEEPEST:
                raise ValueError("nested too deeply")
            return self._mapping(value, depth + 1) if isinstance(value, Mapping) else self._sequence(value, depth + 1)
        text = str.__str__(value) if isinstance(value, str) else str(value)
        shown = self._redacted(text)
        return value if shown is text else shown

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Mapping[Any, Any]:
        shown = {key: self._value(key, item, depth) for key, item in value.items()}
        return value if all(shown[key] is item for key, item in value.items()) else shown

    def _sequence(self, value: Sequence[Any], depth: int) -> Sequence[Any]:
        shown = []
        hidden = False  # whether the item before is an option whose value this one is: --password, hunter2
        for item in value:
            shown.append(self._mark(PAIR.name) if hidden else self._shown(item, depth))
            hidden = self._by_name and isinstance(item, str) and item.startswith("--") and self._is_secret(item)
        return value if all(map(_is, shown, value)) else tuple(shown)

    # -- texts --------------------------------------------------------------------------------------------------

    def _redacted(self, text: str) -> str:
        if text in self._clean:
            return text
        shown = text
        for rule in self._suspects(text):
            shown = self._without_pairs(shown) if rule is PAIR else self._without(rule, shown)
        for own in self._own:
            shown = own.sub(lambda _: self._mark(PATTERN.name), shown)
        if shown == text:
            if len(text) <= _CLEAN_LENGTH:
                if len(self._clean) >= _CLEAN:
                    self._clean.clear()
                self._clean.add(text)
            return text
        return shown

    def _statement(self, text: Sanitised) -> str:
        """A statement without literals. Words tell of secrets only inside quotes there, where names may be anything."""
        shown: str = text
        if '"' in text or "`" in text:
            shown = _QUOTED_NAME.sub(lambda name: name[1] + self._redacted(name[2]) + name[3], shown)
        for rule in self._suspects(shown):
            if not rule.by_words:
                shown = self._without(rule, shown)
        for own in self._own:
            shown = own.sub(lambda _: self._mark(PATTERN.name), shown)
        return text if shown == text else shown

    def _suspects(self, text: str) -> Sequence[Rule]:
        """The rules that may find something: nearly always none."""
        if len(text) == _UUID_LENGTH and _UUID.fullmatch(text):
            return ()  # the ids of tasks, requests and users, which seldom repeat
        named = "=" in text or ":" in text or "," in text or "--" in text or "%3" in text
        if len(text) < _SHORTEST and not named and "@" not in text:
            return ()
        lower = text.lower()
        for hint in self._hints:  # any() would cost three times as much
            if hint in lower:
                return self._hinted(lower)
        if named:
            for hint in self._name_hints:
                if hint in lower:
                    return self._hinted(lower)
        return self._numbers if self._numbers and _EIGHT_DIGITS.search(text) else ()

    def _hinted(self, lower: str) -> Sequence[Rule]:
        return [
            rule for rule in self._rules if not rule.hints or rule is PAIR or any(map(lower.__contains__, rule.hints))
        ]

    def _without(self, rule: Rule, text: str) -> str:
        pattern = self._compiled.get(rule.name)
        if pattern is None:  # seldom wanted, and slow to compile
            pattern = self._compiled[rule.name] = re.compile(rule.pattern)

        def replaced(match: re.Match[str]) -> str:
            group = match.lastgroup or 0
            if (rule.check is not None and not rule.check(match)) or _is_harmless(match[group]):
                return match[0]
            start = match.start()
            return match[0][: match.start(group) - start] + self._mark(rule.name) + match[0][match.end(group) - start :]

        return pattern.sub(replaced, text)

    def _without_pairs(self, text: str) -> str:
        parts: list[str] = []
        at = 0
        for begin, end in self._pairs(text):
            parts += (text[at:begin], self._mark(PAIR.name))
            at = end
        return "".join((*parts, text[at:])) if parts else text

    def _pairs(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the values stand in ``text`` whose names tell of secrets."""
        at = 0
        for found in re.finditer(_NAME, text):
            if found.start() < at or not self._names_secret(found, text):
                continue
            several = plain(found["name"][-_LONGEST_NAME:]).endswith(_LINES)
            value = re.compile(_LINE if several else _VALUE).match(text, found.end())
            if value is None or _is_of_a_route(text, found.start(), value):
                continue
            if not self._is_parameter(value[value.lastgroup or 0]):
                begin, at = value.span(value.lastgroup or 0)
                yield begin, at

    def _is_parameter(self, value: str) -> bool:
        """Whether it only stands for a secret: ``?``, or ``$password`` of a statement."""
        return _is_harmless(value) or (value[:1] in ("$", ":", "@") and self._is_secret(value[1:]))

    def _names_secret(self, found: re.Match[str], text: str) -> bool:
        name = found["name"]
        in_query = text[found.start() - 1 : found.start()] in ("?", "&")
        return self._is_secret(name) or (in_query and is_secret_parameter(name[-_LONGEST_NAME:]))


_CONVERTORS = frozenset({"float", "int", "path", "str", "uuid"})  # Starlette's

_UUID = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UUID_LENGTH = 36
_EIGHT_DIGITS = re.compile("[2-6][0-9]{3}(?:[0-9]|(?:[ +-]|%20)[0-9])[0-9]{3}")


def _is(one: object, other: object) -> bool:
    return one is other


def _is_of_a_route(text: str, start: int, value: re.Match[str]) -> bool:
    """Whether a name that starts there is a parameter of a route, and the value its type: ``/reset/{token:path}``."""
    braces = text[start - 1 : start] + text[value.end() : value.end() + 1]
    return braces == "{}" and value[0] in _CONVERTORS


def _is_harmless(value: object) -> bool:
    return isinstance(value, str) and re.match(_HARMLESS, value) is not None


class _LogFilter(logging.Filter):
    """Takes secrets out of what we log ourselves: an exception may quote anything."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self._policy = policy

    def filter(self, record: logging.LogRecord) -> bool:
        """Change ``record`` where there is something to hide, and let it pass."""
        with suppress(Exception):  # arguments that do not fit the message: logging says so itself
            # The message itself is ours and holds no secret; an argument may be what a server answered.
            if isinstance(record.args, Mapping):
                record.args = {name: self._shown(argument) for name, argument in record.args.items()}
            elif record.args:
                record.args = tuple(map(self._shown, record.args))
            if record.exc_info:
                trace = logging.Formatter().formatException(record.exc_info)
                shown = self._policy.text(trace)
                if shown is not trace:
                    record.exc_text, record.exc_info = shown, None
        return True

    def _shown(self, argument: object) -> object:
        if argument is None or isinstance(argument, (int, float)):
            return argument  # formats such as %d need it as it is
        text = str(argument)
        shown = self._policy.text(text)
        return argument if shown is text else shown
