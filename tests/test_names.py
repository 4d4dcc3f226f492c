"""Attribute and metric names are said once, in ``causal_otel/names.py``."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import causal_otel
from causal_otel import names

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(causal_otel.__file__).parent
CONSTANTS = {name: value for name, value in vars(names).items() if name.isupper() and name != "SCHEMA_URL"}
OURS = ("causal.", "celery.", "taskiq.")

LEGACY = {
    "causal_otel/cli/tree_details.py": {"db.statement", "http.url", "net.peer.name", "net.peer.port"},
    "causal_otel/cli/remote/jaeger_json.py": {"opentracing.ref_type", "otel.library.name", "otel.library.version"},
    "causal_otel/collector/trace_tree.py": {"opentracing.ref_type"},
    "causal_otel/instrumentors/provider.py": {"http.url"},
    "causal_otel/instrumentors/spans.py": {"db.statement", "db.system"},
    "causal_otel/collector/systems.py": {"db.system", "gen_ai.system", "http.method", "net.peer.name", "rpc.system"},
}
"""What instrumentations wrote before there were stable conventions, and only who reads traces knows."""

NO_ATTRIBUTES = re.compile(
    r"http\.(request|disconnect|response\.(body|pathsend|start|trailers))"  # types of ASGI messages
    r"|celery\.((app|backends|concurrency|worker)\.[a-z_.]+|beat|canvas|result|events\.\w+|signals)"  # modules
    r"|celery\.chord_unlock"  # a task
    r"|taskiq\.(kicker|receiver\.receiver|task)"  # likewise
    r"|(error|service)\.html|server\.(log|mode|plugins)"  # templates, a file, settings of a server
)

NAMESPACES = {value.partition(".")[0] for value in CONSTANTS.values()} | {"net", "opentracing", "process", "telemetry"}


def literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """All literals that have the form of an attribute in a namespace that we use, with their lines."""
    form = re.compile(rf"({'|'.join(sorted(NAMESPACES))})(\.[a-z][a-z0-9_]*)+")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and form.fullmatch(node.value):
            yield node.lineno, node.value


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Every module but ``names`` itself: its path, and its syntax tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path != PACKAGE / "names.py":
            yield path.relative_to(PACKAGE.parent).as_posix(), ast.parse(path.read_text())


def test_no_attribute_name_is_written_elsewhere() -> None:
    """Code names an attribute or metric by its constant, so that engine, patches and collector mean the same."""
    found = [
        f"{path}:{line}: {literal}"
        for path, tree in sources()
        for line, literal in literals(tree)
        if literal not in LEGACY.get(path, ()) and not NO_ATTRIBUTES.fullmatch(literal)
    ]
    assert not found


def test_legacy_names_are_still_read() -> None:
    """A legacy name is an exception only as long as the file that is excepted has it."""
    trees = dict(sources())
    for path, legacy in LEGACY.items():
        assert legacy <= {literal for _, literal in literals(trees[path])}


def test_every_name_is_used() -> None:
    """A constant that nothing in the package reads is gone."""
    used = {
        node.id if isinstance(node, ast.Name) else node.attr
        for _, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    }
    assert not set(CONSTANTS) - used


def test_a_constant_is_called_as_its_value_is() -> None:
    """Whoever knows an attribute's name knows its constant's, and no name is said twice."""
    assert {name: value for name, value in CONSTANTS.items() if name != re.sub(r"\W", "_", value).upper()} == {}


def test_sections_are_sorted_and_ours_are_explained() -> None:
    """Within a section constants are sorted; a name that no convention explains has its line of documentation."""
    source = (PACKAGE / "names.py").read_text()
    for section in source.split("\n# -- ")[1:]:
        found = re.findall(r"^(\w+): Final", section, re.MULTILINE)
        assert found == sorted(found)
    body = ast.parse(source).body
    for constant, after in pairwise((*body, ast.Pass())):
        if isinstance(constant, ast.AnnAssign) and isinstance(constant.value, ast.Constant):
            explained = isinstance(after, ast.Expr)
            assert explained == str(constant.value.value).startswith(OURS), constant.value.value
