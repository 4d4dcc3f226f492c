"""What a command imports is known, whatever server it starts, and what stands before it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from causal_otel.doctor.commands import UnknownCommand, target
from causal_otel.doctor.scripts import guard
from tests.doctor.examining import APPLICATION, examine
from tests.environments import make_environment
from tests.services.received import ReceivedSpans

_FACTORY = "from starlette.applications import Starlette\n\n\ndef make():\n    return Starlette()\n"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with applications, which is the working directory; what reading a command changes is put back."""
    (tmp_path / "plain_shop.py").write_text("app = {'shop': 7}\n")
    (tmp_path / "factory_shop.py").write_text("def make():\n    return {'shop': 7}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "uvicorn plain_shop:app",
        "uvicorn --host 0.0.0.0 --port 80 --reload --workers 2 plain_shop:app",
        "uvicorn factory_shop:make --factory",
        "python -m uvicorn plain_shop:app",
        "python -X dev -W error -m hypercorn plain_shop:app --bind localhost:8000",
        "hypercorn -b 0.0.0.0:8000 asgi:plain_shop:app",
        "granian --interface asgi factory_shop:make --factory",
        "hypercorn factory_shop:make()",
        "gunicorn -b 127.0.0.1:8000 -w 4 plain_shop:app",
        "daphne -p 8001 plain_shop:app",
        "taskiq worker plain_shop:app",
        "uwsgi --http :8000 --module plain_shop:app",
        "/usr/local/bin/python3.12 -m granian plain_shop:app",
    ],
)
def test_the_object_that_is_served(shop: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of ASGI and WSGI applications, and of tasks: the object, or what its factory makes."""
    # gunicorn wants something to call.
    (shop / "plain_shop.py").write_text("class App(dict):\n    __call__ = None\n\n\napp = App(shop=7)\n")
    for module in ("plain_shop", "factory_shop"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(str(shop))
    assert target(command.split()).load() == {"shop": 7}


@pytest.mark.parametrize(
    "command", ["celery worker", "python", "python -c pass", "uvloop-server --fast", "uwsgi --master", "fastapi run"]
)
def test_nothing_that_could_be_imported(shop: Path, command: str) -> None:
    """A command that names no application is told to be one."""
    with pytest.raises(UnknownCommand):
        target(command.split())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import causal_otel\ncausal_otel.install()\n", (False, 0)),
        ("import causal_otel\nif __name__ == '__main__':\n    causal_otel.install()\n", (True, 3)),
        ("def main():\n    causal_otel.install()\n\n\nif __name__ == '__main__':\n    main()\n", (True, 2)),
        ("causal_otel.install()\nif __name__ == '__main__':\n    main()\n", (True, 0)),
        ("this is no Python", (False, 0)),
    ],
)
def test_guards_of_scripts(tmp_path: Path, text: str, found: tuple[bool, int]) -> None:
    """A main guard is known, and so is a call of install() under it, or in a function that is called there."""
    script = tmp_path / "script.py"
    script.write_text(text)
    guarded, line = found
    assert guard(script) == (guarded, f"{script}:{line}" if line else "")


_CELERY = "from celery import Celery\n\nimport causal_otel\n\ncausal_otel.install()\napp = Celery('shop')\n"
_DJANGO = {
    "manage.py": 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop_settings")\n',
    "shop_settings.py": "SECRET_KEY = 'x'\nROOT_URLCONF = 'shop_urls'\nWSGI_APPLICATION = 'shop_wsgi.application'\n",
    "shop_urls.py": "urlpatterns = []\n",
    "shop_wsgi.py": "from django.core.wsgi import get_wsgi_application\n\nimport causal_otel\n\n"
    "causal_otel.install()\napplication = causal_otel.WsgiMiddleware(get_wsgi_application())\n",
}
_FASTAPI = "import causal_otel\nfrom fastapi import FastAPI\n\ncausal_otel.install()\napp = FastAPI()\n"


@pytest.mark.long
@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"shop.py": APPLICATION}, "python -m shop"),
        ({"shop/__init__.py": "", "shop/__main__.py": APPLICATION}, "python -m shop"),
        ({"shop.py": APPLICATION}, "python shop.py"),
        ({"shop.py": APPLICATION}, "env SHOP=1 python shop.py"),
        ({"shop.py": _FASTAPI}, "fastapi run shop.py"),
        ({"shop/__init__.py": "", "shop/api.py": _FASTAPI}, "fastapi run shop/api.py --workers 2"),
        ({"shop.py": _CELERY}, "celery -A shop worker -P solo"),
        (_DJANGO, "python manage.py runserver"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_programs_are_imported(tmp_path: Path, receiver: ReceivedSpans, files: dict[str, str], command: str) -> None:
    """Modules, packages, scripts, wrappers, FastAPI's command, Celery and Django: all are imported, and are well."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    report = examine(tmp_path, *command.split(), OTEL_SERVICE_NAME="shop", OTLP_ENDPOINT=receiver.endpoint)
    assert set(report.codes()) <= {"script-without-guard"}, report
    assert report.status == 0
    assert any(line.endswith(": imported") for line in report.looked_at), report


@pytest.mark.long
def test_what_stands_before_the_command(tmp_path: Path, receiver: ReceivedSpans) -> None:
    """A program that prepares another one does so here: its options count, and under our distro nothing doubles."""
    (tmp_path / "shop.py").write_text(f"import redis\n{APPLICATION}")
    command = "opentelemetry-instrument --traces_exporter none --metrics_exporter none uvicorn shop:app"
    report = examine(tmp_path, *command.split(), OTEL_SERVICE_NAME="shop", OTLP_ENDPOINT=receiver.endpoint)
    assert "exporter-none" in report.codes(), report
    assert "another-tracer" not in report.codes(), report


@pytest.mark.long
@pytest.mark.parametrize("calls", [True, False])
def test_under_run(tmp_path: Path, receiver: ReceivedSpans, calls: bool) -> None:
    """Under `causal-otel run` an application is well, whether it calls install() or not."""
    (tmp_path / "shop.py").write_text(APPLICATION if calls else APPLICATION.replace("causal_otel.install()", ""))
    command = f"causal-otel run --service-name celery --endpoint {receiver.endpoint} -- uvicorn shop:app"
    report = examine(tmp_path, *command.split())
    assert (report.findings, report.status) == ([], 0), report
    assert "service 'celery'" in " ".join(report.looked_at)


@pytest.mark.long
def test_the_python_of_the_command(tmp_path: Path, receiver: ReceivedSpans) -> None:
    """A console script of another environment is imported by that one's Python; without us there, it says so."""
    python = make_environment(tmp_path / "other")
    script = tmp_path / "other" / "bin" / "serve-shop"
    script.write_text(f"#!{python}\nimport sys\n{APPLICATION}\nassert sys.prefix == {str(tmp_path / 'other')!r}\n")
    script.chmod(0o755)
    variables = {"OTEL_SERVICE_NAME": "shop", "OTLP_ENDPOINT": receiver.endpoint}
    report = examine(tmp_path, str(script), **variables)
    assert (report.codes(), report.status) == (["script-without-guard"], 0), report
    (site,) = (tmp_path / "other").glob("lib/python*/site-packages/this_one.pth")
    site.unlink()
    report = examine(tmp_path, str(script), **variables)
    assert (report.first["code"], report.status) == ("not-installed-there", 1)
    assert f"{python} -m pip install ." in report.first["fix"]


@pytest.mark.long
def test_no_such_program(tmp_path: Path) -> None:
    """A program that is not there is the first finding."""
    report = examine(tmp_path, "serve-shop-of-nobody", "shop:app")
    assert (report.first["code"], report.status) == ("command-missing", 1)
