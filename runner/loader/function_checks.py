"""Functions that the steps of a job name: that they exist and take the arguments given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner.errors import Problem, RunPipelineError
from runner.functions import (
    Function,
    FunctionNotFound,
    load_extract,
    load_function,
    load_package,
    source_problems,
)
from runner.loader.declarations import LoadedJob
from runner.loader.documents import Report
from runner.loader.nodes import Path
from runner.specs import CallSpec, ExtractSpec, Step

if TYPE_CHECKING:
    from runner.settings import Settings


@dataclass(slots=True)
class FunctionChecks:
    """Imports each function once. The project's package is loaded when the first function is looked up."""

    settings: Settings
    report: Report
    _functions: dict[str, Function | FunctionNotFound] = field(default_factory=dict)
    _loaded: bool | None = None

    def step(self, job: LoadedJob, number: int, step: Step) -> None:
        """Check the function of a step, if it has one."""
        if not isinstance(step, ExtractSpec | CallSpec) or not self._package():
            return
        path: Path = ("steps", number)
        named: Path = (*path, _key_of(step))
        function = self._find(step)
        if isinstance(function, FunctionNotFound):
            self.report.add(job.document, named, function.problem, hint=function.near)
            return
        for argument, text in self._problems(function, step):
            message, _, expected = text.partition("; expected ")
            place = (*path, "with", argument) if argument in step.with_ else named
            if argument not in function.signature.parameters and job.document.unresolved(place):
                place = (*path, "with")  # the name is wrong, whatever the parameter's value will be
            self.report.add(job.document, place, message, expected=expected)
        if isinstance(step, CallSpec) and step.runs_in == "process":
            from runner.functions.elsewhere import process_problems  # brings pickle along

            connection = self.settings.connections.get(step.connection or "")
            for keys, text in process_problems(function, step.with_, connection):
                message, _, expected = text.partition("; expected ")
                self.report.add(job.document, (*path, *keys), message, expected=expected)

    def _problems(self, function: Function, step: ExtractSpec | CallSpec) -> list[tuple[str, str]]:
        """Return what the signature says; a source's own checks need arguments that fit it."""
        cursor = isinstance(step, ExtractSpec) and step.cursor is not None
        found = function.problems(step.op, step.with_, connection=step.connection is not None, cursor=cursor)
        if isinstance(step, ExtractSpec) and not found:
            found.extend(source_problems(step, self.settings.connections.get(step.connection or "")))
        return found

    def _package(self) -> bool:
        """Load the project's package; False, and one problem, when that fails."""
        if self._loaded is None:
            self._loaded = True
            try:
                load_package(self.settings.project, self.settings.package)
            except RunPipelineError as error:
                self._loaded = False
                self.report.problems.append(
                    Problem(file=f"{self.settings.package}/__init__.py", message=str(error))
                )
        return self._loaded

    def _find(self, step: ExtractSpec | CallSpec) -> Function | FunctionNotFound:
        name = step.origin if isinstance(step, ExtractSpec) else step.function
        if name not in self._functions:
            try:
                self._functions[name] = (
                    load_extract(step) if isinstance(step, ExtractSpec) else load_function(name)
                )
            except FunctionNotFound as error:
                self._functions[name] = error
            except (TypeError, ValueError) as error:  # a callable without a signature
                self._functions[name] = FunctionNotFound(name, f"{name} has no signature to check: {error}")
        return self._functions[name]


def _key_of(step: ExtractSpec | CallSpec) -> str:
    """Return the key of a step that names its function."""
    if isinstance(step, ExtractSpec) and step.source:
        return "resource" if step.resource else "source"
    return "function"
