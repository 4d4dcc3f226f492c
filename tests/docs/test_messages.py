"""docs/reference/messages.md has every message that we log: the code is read for them, call by call."""

from __future__ import annotations

import re

from tests.docs.messages import fault_sites, said
from tests.docs.pages import read

_PAGE = "docs/reference/messages.md"

_RELAYED = {"collector/followed.py", "collector/store/upkeep.py", "install.py", "installation.py"}
"""Files that log sentences made elsewhere: by relays and by the functions of ``SENTENCES``, which are read as well."""


def _rows(heading: str = "") -> list[list[str]]:
    text = read(_PAGE).partition(heading)[2] if heading else read(_PAGE)
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if line[:2] == "| "
    ]


def _messages() -> dict[str, str]:
    """The messages of the page, each with its level."""
    return {row[0].strip("`"): row[1] for row in _rows() if len(row) == 4 and row[0].startswith("`")}


def _shown(text: str) -> str:
    """A message as the page has it: what differs is ``...``, once."""
    return re.sub(r"(?:\.\.\.)+\.?(?= |$|\))", "...", text)


def test_the_page_has_every_message_and_no_other() -> None:
    """Each message of the code is in a table of the page, with its level; the page has none that the code has not."""
    logged = {_shown(each.text): each.level for each in said() if each.text}
    assert len(logged) > 40
    page = {_shown(text): level for text, level in _messages().items()}
    assert sorted(set(logged) - set(page)) == [], "these are logged, and not on the page"
    assert sorted(set(page) - set(logged)) == [], "these are on the page, and not logged"
    assert {text: level for text, level in page.items() if logged[text] != level} == {}


def test_sentences_that_are_logged_elsewhere_are_read_as_well() -> None:
    """A log call whose words cannot be seen is in one of the files whose sentences are read where they are made."""
    unseen = {each.place.partition(":")[0] for each in said() if not each.text}
    assert unseen <= _RELAYED


def test_every_message_has_a_cause_and_a_cure() -> None:
    """Neither is left out of a row."""
    assert [row[0] for row in _rows() if len(row) == 4 and not (row[2] and row[3])] == []


def test_every_place_where_tracing_can_fail_is_explained() -> None:
    """A site of a contained fault begins with one of those that the page explains."""
    begin = [name for row in _rows("## Where tracing has failed") for name in re.findall(r"`([^`]+)`", row[0])]
    patterns = [re.compile(re.escape(name).replace(r"\.\.\.", ".+")) for name in begin]
    assert len(begin) >= 8
    assert [site for site in fault_sites() if not any(pattern.match(site) for pattern in patterns)] == []
