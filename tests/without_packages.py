"""Programs for a Python where some packages are not to be found, although they are installed."""

from __future__ import annotations

__all__ = ["COMMAND", "HIDE"]

HIDE = """\
import sys
hidden = sys.argv.pop(1).split()
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        absent = any(f"{name}.".startswith(f"{each}.") for each in hidden)
        return None if absent else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Without, sys.meta_path)
"""
"""The beginning of such a program, which takes the packages' names as its first argument, in one text."""

COMMAND = f"""{HIDE}
from causal_otel.cli import main
sys.exit(main())
"""
"""Runs ``causal-otel``; the arguments that follow are the command's."""
