"""Finds the project's code, and the functions in it, without touching `sys.path`."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from runner.errors import FunctionFailed, RunPipelineError, UsageError, did_you_mean
from runner.functions.collecting import FAILURES
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
        return f"{self.name}: {self.problem}" + (f", {self.near}" if self.near else "")


def load_package(project: Path, package: str) -> None:
    """Make the folder PROJECT/`package` importable as `package`; a project without that folder has no code.

    Raises `UsageError` when this process has a package of that name from another folder, and
    `FunctionNotFound` when its `__init__` raises.
    """
    folder = project.absolute() / package
    if not folder.is_dir():
        return
    if package in sys.modules:
        _check_same(package, folder, sys.modules[package])
        return
    spec = _package_spec(package, folder)
    module = module_from_spec(spec)
    sys.modules[package] = module
    try:
        if spec.loader is not None:
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[package]  # what could not be imported must not look as if it had been
        if isinstance(error, FAILURES):
            raise FunctionNotFound(package, _import_problem(package, error)) from error
        raise


def load_function(name: str) -> Function:
    """Import `module:function`. Raises `FunctionNotFound`."""
    target = load_object(name)
    if not callable(target):
        raise FunctionNotFound(name, _no_function(name))
    try:
        return Function.of(name, target)
    except (TypeError, ValueError) as error:
        raise FunctionNotFound(name, f"its signature cannot be read: {error}") from error


def load_object(name: str) -> Any:
    """Import `module:name` and return what has that name. Raises `FunctionNotFound`."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except FAILURES as error:
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            missing = str(error.name)
            raise FunctionNotFound(name, f"there is no module {missing!r}", _near_module(missing)) from None
        raise FunctionNotFound(name, _import_problem(module_name, error)) from error
    if not hasattr(module, attribute):
        near = did_you_mean(attribute, [key for key, value in vars(module).items() if callable(value)])
        raise FunctionNotFound(name, _no_function(name), near)
    return getattr(module, attribute)


def _no_function(name: str) -> str:
    module_name, _, attribute = name.partition(":")
    return f"module {module_name!r} has no function {attribute!r}"


def _package_spec(package: str, folder: Path) -> ModuleSpec:
    """Return the spec of a package in a folder, whether or not it has an `__init__.py`."""
    init = folder / "__init__.py"
    if init.is_file():
        spec = spec_from_file_location(package, init, submodule_search_locations=[str(folder)])
        if spec is not None:
            return spec
    spec = ModuleSpec(package, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return spec


def _check_same(package: str, folder: Path, loaded: ModuleType) -> None:
    """Raise `UsageError` unless the loaded package is the one in that folder."""
    places = [Path(place) for place in getattr(loaded, "__path__", ())]
    if folder.resolve() in [place.resolve() for place in places]:
        return
    there = ", ".join(map(str, places)) or getattr(loaded, "__file__", None) or "the standard library"
    raise UsageError(
        f"package {package!r} of {folder} cannot be loaded: this process has {package!r} from {there}",
        hint="give the project's code another name with `package` in configs/runner.toml",
    )


def _import_problem(module: str, error: BaseException) -> str:
    """Return what an import raised, and in which line of the project's code."""
    if isinstance(error, SyntaxError):
        what, place = error.msg, f"{error.filename}:{error.lineno}"
    else:
        what, place = str(error), FunctionFailed(module, error).location
    text = f"importing {module!r} raised {type(error).__name__}: {what}"
    return f"{text} ({place})" if place else text


def _near_module(name: str) -> str:
    parent = name.rpartition(".")[0]
    folders = getattr(sys.modules.get(parent), "__path__", None)
    siblings = [f"{parent}.{found.name}" for found in pkgutil.iter_modules(folders)] if folders else []
    return did_you_mean(name, siblings)
