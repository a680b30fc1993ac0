"""Which step an `op` is: the one place that knows them all."""

from __future__ import annotations

from typing import Any

from runner.executor import BuildStep
from runner.functions import load_extract, load_function
from runner.ports import FunctionProcesses, FunctionThreads, Step, StepContext
from runner.settings import Settings
from runner.specs import CallSpec, CheckSpec, ExtractSpec, ReadSpec, SqlSpec, StepSpec, WriteSpec


def step_builder(
    settings: Settings, threads: FunctionThreads, processes: FunctionProcesses | None
) -> BuildStep:
    """Return what makes steps for the executor, with the settings, threads and processes that they share."""

    def build(spec: StepSpec, context: StepContext) -> Step:
        # Imported here: a run pays only for the operations that it uses.
        match spec:
            case ReadSpec():
                from runner.steps.read import ReadStep

                return ReadStep(spec, context, batch_rows=settings.batch_rows)
            case ExtractSpec():
                from runner.steps.extract import ExtractStep

                return ExtractStep(spec, context, **calling(spec))
            case CallSpec() if spec.runs_in == "process" and processes is not None:
                from runner.steps.call_in_processes import CallInProcessesStep

                return CallInProcessesStep(spec, context, processes=processes, **calling(spec))
            case CallSpec():
                from runner.steps.call import CallStep

                return CallStep(spec, context, **calling(spec))
            case WriteSpec():
                from runner.steps.write import WriteStep

                return WriteStep(spec, context, threads=threads)
            case CheckSpec(table=None):
                from runner.steps.check import CheckRowsStep

                return CheckRowsStep(spec, context, threads=threads)
            case CheckSpec():
                from runner.steps.check import CheckTableStep

                return CheckTableStep(spec, context)
            case SqlSpec():
                from runner.steps.sql import SqlStep

                return SqlStep(spec, context, batch_rows=settings.batch_rows)
        raise TypeError(f"no step for {type(spec).__name__}")

    def calling(spec: ExtractSpec | CallSpec) -> dict[str, Any]:
        return {
            "function": load_extract(spec) if isinstance(spec, ExtractSpec) else load_function(spec.function),
            "threads": threads,
            "connection": settings.connections[spec.connection] if spec.connection else None,
            "batch_rows": settings.batch_rows,
        }

    return build
