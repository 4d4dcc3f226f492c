"""What a command would import, and how its server goes about it: in the process that imports it.

Servers are asked themselves where they can be: uvicorn, gunicorn, Celery and Flask read their own options and
configuration files here. Of any other command, the first argument such as ``shop.api:app`` is what it imports.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from configparser import ConfigParser
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from causal_otel.doctor.scripts import run_django, run_module, run_script

__all__ = ["SERVERS", "Target", "UnknownCommand", "target"]

_OBJECT = re.compile(r"(?:(?:asgi|wsgi):)?(?P<module>[A-Za-z_][\w.]*):(?P<path>[A-Za-z_][\w.]*)(?P<call>\(\))?")


class UnknownCommand(Exception):
    """Nobody can tell what the command imports. The message says so."""


class Target(NamedTuple):
    """What a command imports.

    Attributes:
        server: the program's name.
        name: what is imported, for people.
        load: imports it, and returns the application, if there is one object that is it.
        options: of the server, as far as the checks want to know them.
        script: the file whose code is run, for those whose work may stand under a guard.
    """

    server: str
    name: str
    load: Callable[[], object]
    options: Mapping[str, Any] = MappingProxyType({})
    script: Path | None = None


def target(command: Sequence[str]) -> Target:
    """What ``command`` imports. Its own arguments become those of this process.

    Raises:
        UnknownCommand: nobody can tell.
    """
    program, arguments = command[0], list(command[1:])
    server = os.path.basename(program)
    sys.argv = [program, *arguments]
    if server.endswith(".py"):
        return _script(program, arguments)
    if re.fullmatch(r"(python|pypy)[\d.]*", server):
        return _python(arguments)
    return _served(server, arguments, program)


def _served(server: str, arguments: list[str], program: str) -> Target:
    read = SERVERS.get(server, _any)
    found = read(server, arguments)
    if found is not None:
        return found
    path = shutil.which(program)
    if path is not None and _is_python(path):  # a console script: what it imports, though not what it does
        return _script(path, arguments, server)
    raise UnknownCommand(f"nothing among the arguments of {server} looks like an application, such as shop.api:app")


def _is_python(path: str) -> bool:
    """Whether a program is a script of Python's: its first lines name the interpreter."""
    with open(path, "rb") as file:
        return file.read(2) == b"#!" and b"python" in file.readline() + file.readline()


# -- Python ------------------------------------------------------------------------------------------------------------


def _python(arguments: list[str]) -> Target:
    """What the interpreter's own options say."""
    given = list(arguments)
    while given and given[0].startswith("-") and given[0] != "-":
        option = given.pop(0)
        if option in ("-W", "-X"):
            del given[:1]
        elif option == "-c":
            raise UnknownCommand("the code of `python -c` is not run: put it into a script")
        elif option == "-m" and given:
            return _module(given[0], given[1:])
    if not given:
        raise UnknownCommand("python is given no script")
    return _script(given[0], given[1:])


def _module(name: str, arguments: list[str]) -> Target:
    if name in SERVERS:
        sys.argv = [name, *arguments]
        return _served(name, arguments, name)
    sys.argv = [name, *arguments]
    sys.path.insert(0, os.getcwd())
    script = None
    with suppress(ImportError, ValueError):
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = find_spec(f"{name}.__main__")
        script = None if spec is None or spec.origin is None else Path(spec.origin)
    return Target("python", f"-m {name}", lambda: run_module(name), script=script)


def _script(path: str, arguments: list[str], server: str = "python") -> Target:
    sys.argv = [path, *arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    if os.path.basename(path) == "manage.py":
        return Target("django", path, lambda: run_django(Path(path)))
    return Target(server, path, lambda: run_script(path), script=Path(path))


# -- servers -----------------------------------------------------------------------------------------------------------


def _uvicorn(server: str, arguments: list[str]) -> Target:
    from uvicorn.main import main

    given = main.make_context(server, list(arguments)).params
    if given.get("env_file"):
        from dotenv import load_dotenv  # type: ignore[import-not-found, unused-ignore]

        load_dotenv(given["env_file"])
    found = _object(server, str(given["app"]), given.get("app_dir") or "", factory=bool(given.get("factory")))
    return found._replace(options={"reload": given.get("reload"), "workers": given.get("workers")})


def _gunicorn(server: str, arguments: list[str]) -> Target:
    from gunicorn.app.wsgiapp import WSGIApplication  # type: ignore[import-untyped]

    application: Any = WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog=server)
    configuration = application.cfg
    options = {
        "preload": configuration.preload_app,
        "workers": configuration.workers,
        "worker": configuration.worker_class_str,
    }
    return Target(server, str(application.app_uri), application.wsgi, options)


def _celery(server: str, arguments: list[str]) -> Target | None:
    name = _option(arguments, "-A", "--app")
    if name is None:
        raise UnknownCommand("celery is given no application: -A")
    works = "worker" in arguments
    options: dict[str, Any] = {}

    def load() -> object:
        from celery.app.utils import find_app

        directory = _option(arguments, "", "--workdir")
        if directory:
            os.chdir(directory)
        application: Any = find_app(name)
        if works:
            application.loader.import_default_modules()  # the tasks, as a worker does
            options["pool"] = _option(arguments, "-P", "--pool") or application.conf.worker_pool
        return application

    return Target(server, name, load, options)


def _flask(server: str, arguments: list[str]) -> Target:
    from flask.cli import ScriptInfo, load_dotenv

    name = _option(arguments, "-A", "--app")

    def load() -> object:
        load_dotenv()
        sys.path.insert(0, os.getcwd())
        return ScriptInfo(app_import_path=name or os.environ.get("FLASK_APP")).load_app()

    return Target(server, name or os.environ.get("FLASK_APP") or "app.py", load)


_FASTAPI_FILES = ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")


def _fastapi(server: str, arguments: list[str]) -> Target:
    entry = _option(arguments, "-e", "--entrypoint")
    if entry:
        return _object(server, entry, factory=False)
    files = [each for each in arguments if each.endswith(".py")] or [
        each for each in _FASTAPI_FILES if Path(each).is_file()
    ]
    if not files:
        raise UnknownCommand("fastapi is given no file, and there is no main.py, app.py or api.py")
    path = Path(files[0]).resolve()
    module = path.stem
    directory = path.parent
    while (directory / "__init__.py").is_file():
        module, directory = f"{directory.name}.{module}", directory.parent

    def load() -> object:
        sys.path.insert(0, str(directory))
        found = vars(import_module(module))
        name = _option(arguments, "", "--app")
        chosen = [name] if name else ["app", "api", *found]
        return next((found[each] for each in chosen if hasattr(found.get(each), "openapi")), None)

    return Target(server, files[0], load)


def _uwsgi(server: str, arguments: list[str]) -> Target | None:
    given = _uwsgi_options(arguments)
    options = {"enable-threads": any(key in given for key in ("enable-threads", "threads"))}
    if "wsgi-file" in given:
        return _script(given["wsgi-file"], [], server)._replace(options=options)
    name = next((given[key] for key in ("module", "wsgi", "w") if key in given), None)
    if name is None:
        raise UnknownCommand("uwsgi is given no application: --module or --wsgi-file")
    return _object(server, name if ":" in name else f"{name}:application", factory=False)._replace(options=options)


def _uwsgi_options(arguments: Sequence[str]) -> dict[str, str]:
    """Its options, from arguments and ini files."""
    found: dict[str, str] = {}
    files = []
    for position, argument in enumerate(arguments):
        following = arguments[position + 1] if position + 1 < len(arguments) else ""
        if argument.startswith("-"):
            name, _, value = argument.lstrip("-").partition("=")
            found[name] = value or following
        if argument.endswith(".ini"):
            files.append(argument.removeprefix("--ini="))
    for file in files:
        parser = ConfigParser(strict=False, interpolation=None)
        parser.read(file)
        if parser.has_section("uwsgi"):
            found = {**{key: value for key, value in parser.items("uwsgi") if value != "false"}, **found}
    return found


def _any(server: str, arguments: list[str]) -> Target | None:
    """Whatever else takes an application or a module among its arguments: hypercorn, granian, taskiq, dramatiq ..."""
    for argument in arguments:
        if _OBJECT.fullmatch(argument):
            return _object(server, argument, factory="--factory" in arguments)
    sys.path.insert(0, os.getcwd())
    names = [each for each in arguments if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", each) and _is_module(each)]
    return Target(server, " ".join(names), lambda: [import_module(each) for each in names]) if names else None


def _object(server: str, name: str, directory: str = "", *, factory: bool) -> Target:
    found = _OBJECT.fullmatch(name)
    if found is None:
        raise UnknownCommand(f"{name!r} is no name of an application, such as shop.api:app")

    def load() -> object:
        sys.path.insert(0, directory or os.getcwd())
        made = attrgetter(found["path"])(import_module(found["module"]))
        return made() if factory or found["call"] else made

    return Target(server, name, load)


def _is_module(name: str) -> bool:
    with suppress(ImportError, ValueError):
        return find_spec(name) is not None
    return False


def _option(arguments: Sequence[str], short: str, long: str) -> str | None:
    """The value of an option, written in any of the usual ways."""
    for position, argument in enumerate(arguments):
        if argument in (short, long) and argument:
            return arguments[position + 1] if position + 1 < len(arguments) else None
        if argument.startswith(f"{long}="):
            return argument.partition("=")[2]
        if short and argument.startswith(short) and not argument.startswith("--"):
            return argument[len(short) :].removeprefix("=")
    return None


SERVERS: dict[str, Callable[[str, list[str]], Target | None]] = {
    "celery": _celery,
    "daphne": _any,
    "dramatiq": _any,
    "fastapi": _fastapi,
    "flask": _flask,
    "granian": _any,
    "gunicorn": _gunicorn,
    "hypercorn": _any,
    "taskiq": _any,
    "uvicorn": _uvicorn,
    "uwsgi": _uwsgi,
}
"""What reads the arguments of the servers that we know, by name; the module of one may be run by ``python -m``."""
