"""Declarations of jobs and pipelines."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from runner.specs.names import Duration, EventName, Flag, Id, Identifier, Spec, Workers, as_tuple
from runner.specs.steps import Step


class ParamSpec(Spec):
    """A typed parameter of a job; without a default it must be given with `--set NAME=VALUE`."""

    type: Literal["string", "int64", "float64", "bool", "timestamp", "date", "path"] = "string"
    default: Any = None
    description: str = ""


class JobSpec(Spec):
    """A job: the unit that lands as a whole. `queue` bounds how many of its kind run at once; of those that wait in
    one queue, the greatest `priority` goes first. `event` is the word for the event that tells where its time went.
    """

    job_id: Id
    description: str = ""
    params: dict[Identifier, ParamSpec] = {}
    queue: str = "default"
    priority: Annotated[int, Field(ge=-100, le=100, strict=True)] = 0
    timeout: Duration | None = None
    event: EventName | None = None
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]


class StageSpec(Spec):
    """A stage: its jobs (or sub-pipelines) are independent of each other and come after the stage before. `event` is
    the word for the event that tells what running them at once has gained.
    """

    name: Id
    jobs: Annotated[tuple[Id, ...], Field(min_length=1)]
    max_workers: Workers | None = None
    event: EventName | None = None


class MemberSpec(Spec):
    """A job (or sub-pipeline) of a pipeline in graph form. `needs`: success first; `after`: order only."""

    needs: Annotated[tuple[Id, ...], BeforeValidator(as_tuple)] = ()
    after: Annotated[tuple[Id, ...], BeforeValidator(as_tuple)] = ()


def _member(value: object) -> object:
    return {} if value is None else value


class PipelineSpec(Spec):
    """A pipeline: either `stages`, or `jobs` with `needs`/`after`."""

    pipeline_id: Id
    description: str = ""
    stages: tuple[StageSpec, ...] = ()
    jobs: dict[Id, Annotated[MemberSpec, BeforeValidator(_member)]] = {}
    stop_on_failure: Flag = False
    max_workers: Workers | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if bool(self.stages) == bool(self.jobs):
            raise ValueError("a pipeline has either stages or jobs")
        return self
