"""The layer: hooks, version gate, contained failure, exact undoing — on modules made for the purpose."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import logging
import pickle
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from causal_otel._internal import faults
from causal_otel.engine.provider import TracerProvider
from causal_otel.instrument.applying import Applied
from causal_otel.instrument.calls import client_call
from causal_otel.instrument.declaration import Connect, Patch, Wrap
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.options import ClientOptions
from causal_otel.instrument.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _driver(name: str) -> types.ModuleType:
    module = types.ModuleType(name)

    class Base:
        def inherited(self) -> str:
            return "inherited"

    class Client(Base):
        def call(self, word: str, *, fail: BaseException | None = None) -> str:
            if fail is not None:
                raise fail
            return word

        async def acall(self, word: str, *, fail: BaseException | None = None) -> str:
            await asyncio.sleep(0)
            return self.call(word, fail=fail)

    for kind in (Base, Client):
        kind.__module__, kind.__qualname__ = name, kind.__name__
        setattr(module, kind.__name__, kind)
    Client.call.__module__ = Client.acall.__module__ = name
    Client.call.__qualname__, Client.acall.__qualname__ = "Client.call", "Client.acall"
    return module


@pytest.fixture
def driver() -> Iterator[types.ModuleType]:
    """A driver, imported already, whose distribution is that of pytest."""
    module = sys.modules["pytest_driver"] = _driver("pytest_driver")
    yield module
    del sys.modules["pytest_driver"]


def _passing(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    return replacement


def _patch(*targets: Wrap | Connect, versions: tuple[str, str] = ("0", "9999")) -> Patch:
    return Patch("fake", {"pytest_driver": versions, "pytest": versions}, ClientOptions, targets)


@pytest.fixture
def apply(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Applied]]:
    """Applies a patch, with the version 1.2.3 of everything, and undoes it."""
    monkeypatch.setattr("causal_otel.instrument.applying.metadata.version", lambda name: "1.2.3rc1")
    made = []

    def apply(patch: Patch, tracer: trace.Tracer | None = None, options: ClientOptions | None = None) -> Applied:
        tracing = Tracing(tracer or trace.NoOpTracer(), options or ClientOptions(), lambda timeout: True)
        applied = Applied(patch, tracing)
        made.append(applied)
        applied.apply()
        return applied

    yield apply
    for applied in made:
        applied.undo()


class TestPlacing:
    def test_undo_by_identity(self, driver: Any, apply: Callable[..., Applied]) -> None:
        """Undoing puts the very object back, and removes what was inherited before."""
        before = vars(driver.Client)["call"]
        applied = apply(
            _patch(Wrap("pytest_driver", "Client.call", _passing), Wrap("pytest_driver", "Client.inherited", _passing))
        )
        assert vars(driver.Client)["call"] is not before
        assert driver.Client().inherited() == "inherited"
        assert str(applied.status) == "fake: on pytest_driver 1.2.3rc1"
        applied.undo()
        assert vars(driver.Client)["call"] is before
        assert "inherited" not in vars(driver.Client)

    def test_module_imported_later(self, apply: Callable[..., Applied], tmp_path: Any) -> None:
        """A target is placed when its module is imported, and not at all once undone."""
        sys.path.insert(0, str(tmp_path))
        try:
            for name in ("late_one", "late_two"):
                (tmp_path / f"{name}.py").write_text("def f(): return 1")
            patch = Patch(
                "fake",
                {"late_one": ("0", "9"), "late_two": ("0", "9")},
                ClientOptions,
                (Wrap("late_one", "f", _passing), Wrap("late_two", "f", _passing)),
            )
            applied = apply(patch)
            assert applied.status.state == "waiting"
            import late_one  # type: ignore[import-not-found]

            assert late_one.f.__wrapped__
            applied.undo()
            import late_two  # type: ignore[import-not-found]

            assert not hasattr(late_one.f, "__wrapped__")
            assert not hasattr(late_two.f, "__wrapped__")
        finally:
            sys.path.remove(str(tmp_path))
            sys.modules.pop("late_one", None)
            sys.modules.pop("late_two", None)

    def test_missing_target_leaves_all_alone(
        self, driver: Any, apply: Callable[..., Applied], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Without a target that is not optional none is placed, before or after it; status and one line say so."""
        before = dict(vars(driver.Client))
        with caplog.at_level(logging.WARNING):
            applied = apply(
                _patch(
                    Wrap("pytest_driver", "Client.call", _passing),
                    Wrap("pytest_driver", "Client.gone_too", _passing, optional=True),
                    Wrap("pytest_driver", "Client.gone", _passing),
                    Wrap("pytest_driver", "Client.gone_also", _passing),
                    Wrap("pytest_driver", "Client.acall", _passing),
                )
            )
        problem = "pytest_driver.Client.gone does not exist in this version"
        assert (applied.status.state, applied.status.problems) == ("unsupported", [problem])
        assert [record.getMessage() for record in caplog.records] == [f"causal_otel: fake is not traced: {problem}"]
        assert dict(vars(driver.Client)) == before

    def test_optional_target(self, driver: Any, apply: Callable[..., Applied]) -> None:
        """A target that some versions lack is nothing to report, and the others are placed."""
        applied = apply(
            _patch(
                Wrap("pytest_driver", "Client.gone", _passing, optional=True),
                Wrap("pytest_driver", "Client.call", _passing),
            )
        )
        assert (applied.status.state, applied.status.problems) == ("on", [])
        assert hasattr(driver.Client.call, "__wrapped__")

    def test_below_somebody_else_s_wrapper_switched_off(self, driver: Any, apply: Callable[..., Applied]) -> None:
        """Left alone after all, what somebody has wrapped by then stays and does nothing."""
        handles: list[Tracing[Any]] = []

        def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
            handles.append(tracing)
            return _passing(tracing, original)

        def wrapped_by_others(tracing: Tracing[Any]) -> Callable[[], None]:
            driver.Client.call = _passing(tracing, driver.Client.call)
            return lambda: None

        applied = apply(
            _patch(
                Wrap("pytest_driver", "Client.call", wrap),
                Connect("pytest_driver", wrapped_by_others),
                Wrap("pytest_driver", "Client.gone", _passing),
            )
        )
        assert applied.status.state == "unsupported"
        assert not handles[0].active
        assert driver.Client().call("x") == "x"

    def test_connect(self, driver: Any, apply: Callable[..., Applied]) -> None:
        """An extension point is connected once and disconnected by the undoing."""
        log: list[str] = []

        def connect(tracing: Tracing[Any]) -> Callable[[], None]:
            log.append("connected")
            return lambda: log.append("disconnected")

        apply(_patch(Connect("pytest_driver", connect))).undo()
        assert log == ["connected", "disconnected"]

    def test_failing_patch_is_contained(
        self, driver: Any, apply: Callable[..., Applied], caplog: pytest.LogCaptureFixture
    ) -> None:
        """A patch that raises while it is placed is logged with its traceback, and the import goes on."""

        def broken(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
            raise RuntimeError("broken")

        before = vars(driver.Client)["call"]
        failures = faults.counts().get("fake: patching pytest_driver", 0)
        applied = apply(_patch(Wrap("pytest_driver", "Client.call", broken)))
        assert applied.status.state == "failed"
        assert vars(driver.Client)["call"] is before
        assert faults.counts()["fake: patching pytest_driver"] == failures + 1


class TestVersions:
    @pytest.mark.parametrize(("first", "last"), [("1.2.4", "2"), ("0", "1.2.3"), ("2", "3")])
    def test_unsupported_version_is_left_alone_visibly(
        self, driver: Any, apply: Callable[..., Applied], caplog: pytest.LogCaptureFixture, first: str, last: str
    ) -> None:
        """Outside the range nothing is patched, one warning says so, and the status does."""
        with caplog.at_level(logging.WARNING):
            applied = apply(
                _patch(
                    Wrap("pytest_driver", "Client.call", _passing),
                    Wrap("pytest_driver", "Client.acall", _passing),
                    versions=(first, last),
                )
            )
        assert not hasattr(driver.Client.call, "__wrapped__")
        assert applied.status.state == "unsupported"
        assert [record.getMessage() for record in caplog.records] == [
            f"causal_otel: fake is not traced: pytest_driver 1.2.3rc1 is not supported (from {first}, below {last})"
        ]

    def test_supported_version(self, driver: Any, apply: Callable[..., Applied]) -> None:
        """The first version counts as supported, a release candidate as its release."""
        applied = apply(_patch(Wrap("pytest_driver", "Client.call", _passing), versions=("1.2.3", "1.2.4")))
        assert applied.status.state == "on"


class TestClientCall:
    @pytest.fixture
    def provider(self) -> Iterator[TracerProvider]:
        provider = TracerProvider()
        yield provider
        provider.shutdown()

    @staticmethod
    def _wrap(describe: Any) -> tuple[Wrap, Wrap]:
        return (
            Wrap("pytest_driver", "Client.call", client_call(describe)),
            Wrap("pytest_driver", "Client.acall", client_call(describe)),
        )

    @staticmethod
    def _describe(tracing: Any, instance: Any, args: Any, kwargs: Any) -> Operation:
        return Operation("call", {"word": args[0]})

    @pytest.mark.asyncio
    async def test_same_result_same_exception_called_once(
        self, driver: Any, apply: Callable[..., Applied], provider: TracerProvider
    ) -> None:
        """The result and the exception object are the driver's own, recorded or not."""
        apply(_patch(*self._wrap(self._describe)), provider.get_tracer("t"))
        error, client = ValueError("secret"), driver.Client()
        for context in (
            trace.use_span(provider.get_tracer("t").start_span("root")),
            trace.use_span(trace.INVALID_SPAN),
        ):
            with context:
                assert client.call("x") == "x"
                assert await client.acall("x") == "x"
                with pytest.raises(ValueError, match="secret") as caught:
                    client.call("x", fail=error)
                assert caught.value is error
                with pytest.raises(ValueError, match="secret") as caught:
                    await client.acall("x", fail=error)
                assert caught.value is error

    def test_broken_description_is_contained(
        self, driver: Any, apply: Callable[..., Applied], provider: TracerProvider
    ) -> None:
        """Where our own code fails, the call proceeds as if we were not there, and the fault is counted."""

        def broken(*args: Any) -> Operation:
            raise RuntimeError("broken")

        apply(_patch(*self._wrap(broken)), provider.get_tracer("t"))
        before = faults.counts().get("pytest_driver.Client.call", 0)
        with provider.get_tracer("t").start_as_current_span("root"):
            assert driver.Client().call("x") == "x"
        assert faults.counts()["pytest_driver.Client.call"] == before + 1

    def test_nothing_is_described_unless_recorded(
        self, driver: Any, apply: Callable[..., Applied], provider: TracerProvider
    ) -> None:
        """Without a parent that is required, or switched off, the description is not even asked for."""
        asked: list[Any] = []

        def describe(*args: Any) -> None:
            asked.append(args)

        applied = apply(_patch(*self._wrap(describe)), provider.get_tracer("t"), ClientOptions(require_parent=True))
        kept = driver.Client.call
        driver.Client().call("x")
        assert asked == []
        with provider.get_tracer("t").start_as_current_span("root"):
            driver.Client().call("x")
            assert len(asked) == 1
            applied.undo()
            kept(driver.Client(), "x")
        assert len(asked) == 1

    def test_roots_are_the_default(self, driver: Any, apply: Callable[..., Applied], provider: TracerProvider) -> None:
        """A call without a parent is recorded."""
        asked: list[Any] = []

        def describe(*args: Any) -> None:
            asked.append(args)

        apply(_patch(*self._wrap(describe)), provider.get_tracer("t"), ClientOptions())
        driver.Client().call("x")
        assert len(asked) == 1

    def test_introspection_stays_true(self, driver: Any, apply: Callable[..., Applied]) -> None:
        """Signature, name, kind, pickling and copying of a patched method are as before."""
        client = driver.Client()
        before = inspect.signature(client.call)
        apply(_patch(*self._wrap(self._describe)))
        assert inspect.signature(client.call) == before
        assert inspect.iscoroutinefunction(client.acall)
        assert not inspect.iscoroutinefunction(client.call)
        assert driver.Client.call.__qualname__ == "Client.call"
        assert pickle.loads(pickle.dumps(driver.Client.call)) is driver.Client.call
        assert copy.deepcopy(driver.Client.call) is driver.Client.call
        assert copy.deepcopy(client.call)("x") == "x"
