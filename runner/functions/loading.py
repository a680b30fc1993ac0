"""Finds the project's code and the functions in it, without touching `sys.path`."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from runner.errors import FunctionFailed, RunPipelineError, UsageError, did_you_mean
from runner.functions.function import Function


class FunctionNotFound(RunPipelineError):
    """A name `module:function` that cannot be used: `problem` says why, `near` is a hint or ""."""

    category = "config"

    def __init__(self, name: str, problem: str, near: str = "") -> None:
        super().__init__(name, problem, near)
        self.name = name
        self.problem = problem
        self.near = near

    def __str__(self) -> str:
        return f"{self.name}: {self.problem}" + (f" ({self.near})" if self.near else "")


def load_package(project: Path, package: str) -> None:
    """Make PROJECT/`package` importable under its name. Does nothing if the folder does not exist.

    Raises `UsageError` when a package of that name is already loaded from another folder, and `FunctionNotFound` when
    its `__init__` cannot be imported.
    """
    folder = project.absolute() / package
    loaded = sys.modules.get(package)
    if loaded is not None:
        _check_same(package, folder, loaded)
        return
    if not folder.is_dir():
        return
    init = folder / "__init__.py"
    search = [str(folder)]
    if init.is_file():
        spec = importlib.util.spec_from_file_location(package, init, submodule_search_locations=search)
    else:
        spec = ModuleSpec(package, None, is_package=True)
        spec.submodule_search_locations = search
    if spec is None:
        raise UsageError(f"{init} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    if spec.loader is None or not init.is_file():
        return
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[package]
        if isinstance(error, Exception):
            raise FunctionNotFound(package, _import_problem(package, error)) from error
        raise


def load_function(name: str) -> Function:
    """Import `module:function`. Raises `FunctionNotFound`."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise FunctionNotFound(name, f"there is no module {error.name}", _near_module(str(error.name))) from None
        raise FunctionNotFound(name, _import_problem(module_name, error)) from error
    target = getattr(module, attribute, None)
    if not callable(target):
        near = did_you_mean(attribute, [n for n, v in vars(module).items() if callable(v)])
        raise FunctionNotFound(name, f"{module_name} has no function {attribute}", near)
    return Function.of(name, target)


def _check_same(package: str, folder: Path, loaded: ModuleType) -> None:
    places = [Path(place) for place in getattr(loaded, "__path__", [])]
    if folder.is_dir() and folder.resolve() not in [place.resolve() for place in places]:
        raise UsageError(
            f"package {package!r} of {folder} cannot be loaded: this process already has it from"
            f" {', '.join(map(str, places)) or getattr(loaded, '__file__', 'elsewhere')}",
            hint="give the projects' packages different names: `package` in runner.toml",
        )


def _import_problem(module: str, error: Exception) -> str:
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}"
    else:
        place = FunctionFailed(module, error).location
    text = f"importing {module} failed: {type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    return f"{text} ({place})" if place else text


def _near_module(name: str) -> str:
    parent, _, _ = name.rpartition(".")
    path = getattr(sys.modules.get(parent), "__path__", None)
    siblings = [f"{parent}.{info.name}" for info in pkgutil.iter_modules(path)] if path else []
    return did_you_mean(name, siblings)
