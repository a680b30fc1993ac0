"""Which step an `op` is: the one place that knows them all."""

from __future__ import annotations

from runner.executor import BuildStep
from runner.functions import load_function
from runner.ports import FunctionThreads, Step, StepContext
from runner.settings import Settings
from runner.specs import CallSpec, ExtractSpec, ReadSpec, StepSpec, WriteSpec


def step_builder(settings: Settings, threads: FunctionThreads) -> BuildStep:
    """Return what makes steps for the executor, with the settings and threads that they share."""

    def build(spec: StepSpec, context: StepContext) -> Step:
        # Imported here: a run pays only for the operations that it uses.
        match spec:
            case ReadSpec():
                from runner.steps.read import ReadStep

                return ReadStep(spec, context, batch_rows=settings.batch_rows)
            case ExtractSpec():
                from runner.steps.extract import ExtractStep

                return ExtractStep(spec, context, function=load_function(spec.function), threads=threads,
                                   connection=_connection(settings, spec.connection), batch_rows=settings.batch_rows)  # fmt: skip
            case CallSpec():
                from runner.steps.call import CallStep

                return CallStep(spec, context, function=load_function(spec.function), threads=threads,
                                connection=_connection(settings, spec.connection), batch_rows=settings.batch_rows)  # fmt: skip
            case WriteSpec():
                from runner.steps.write import WriteStep

                return WriteStep(spec, context, threads=threads)
            case _:
                raise AssertionError(f"no step for op {getattr(spec, 'op', '?')!r}")

    return build


def _connection(settings: Settings, name: str | None) -> object:
    return settings.connections[name] if name else None
