"""What POSIX systems have and Windows has not: locks of files, and a sentence for whoever needs more.

Modules of POSIX (``fcntl``, ``pwd``, ``resource``) are imported where they are used, never at the top of a file: what
does not need them works everywhere.
"""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["lacking_posix", "lock_file", "unlock_file"]


def lacking_posix(what: str, *modules: str) -> str:
    """A sentence that says why something cannot run on this platform; empty: it can.

    Args:
        what: the subject of the sentence.
        modules: those of POSIX that it uses.
    """
    absent = [name for name in modules if find_spec(name) is None]
    if not absent:
        return ""
    return (
        f"{what} needs Linux or macOS: this Python has no {' and no '.join(absent)}, because its platform has no "
        "POSIX file locks and accounts. On Windows, run it in WSL or in a container"
    )


def lock_file(descriptor: int) -> bool:
    """Lock an open file, for this process alone and until it is closed; False: another process has it."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock_file(descriptor: int) -> None:
    """Unlock it before it is closed: a child that was forked meanwhile shares the lock, and would hold it."""
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_UN)
