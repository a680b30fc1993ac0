"""What the shell completes: names of pipelines, jobs, tables, runs, parameters. A Tab costs no settings, only files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from runner.cli.project_files import (
    job_files,
    latest_runs,
    parameters_of,
    pipeline_files,
    project_of,
    steps_of,
    table_names,
)

if TYPE_CHECKING:
    from pathlib import Path

    from click.shell_completion import CompletionItem

MAX_HELP = 80


class RunnableName(click.ParamType[str]):
    """The name of a pipeline or job. Any text passes: the loader knows better, and names what is near."""

    name = "name"

    def __init__(self, *, only_jobs: bool = False) -> None:
        self._only_jobs = only_jobs

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that go on from what was typed."""
        from click.shell_completion import CompletionItem

        del param
        project = _project(ctx)
        if project is None:
            return []
        names = [*({} if self._only_jobs else pipeline_files(project)), *job_files(project)]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class RunReference(click.ParamType[str]):
    """A run: `last`, `last-failed`, an id, the beginning of one, or the name of a pipeline or job, whose last run is
    meant. Any text passes: the run store knows better.
    """

    name = "run"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the words for the newest runs, and their ids, newest first; then names."""
        from click.shell_completion import CompletionItem

        names = RunnableName().shell_complete(ctx, param, incomplete)
        words = [("last", "the newest run"), ("last-failed", "the newest that failed")]
        project = _project(ctx)
        runs = latest_runs(project) if project else []
        found = [
            CompletionItem(value, help=text)
            for value, text in (*words, *runs)
            if value.startswith(incomplete) or (incomplete and value.startswith(incomplete.upper()))
        ]
        return [*found, *names]


class StepName(click.ParamType[str]):
    """A step of the job that `--job` names. Any text passes: records may have steps that the project no longer has."""

    name = "step"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the steps of the job; nothing without one."""
        from click.shell_completion import CompletionItem

        del param
        project, job = _project(ctx), ctx.params.get("job")
        steps = steps_of(project, job) if project and job else []
        return [CompletionItem(step) for step in steps if step.startswith(incomplete)]


class EventType(click.ParamType[str]):
    """The type of an event. Any text passes: notices have types of their own."""

    name = "type"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the types of the engine's own events."""
        from click.shell_completion import CompletionItem

        from runner.events import EVENT_TYPES

        del ctx, param
        return [CompletionItem(word) for word in EVENT_TYPES if word.startswith(incomplete)]


class TableName(click.ParamType[str]):
    """DATASET.TABLE of a declared table. Any text passes: the loader knows better, and names what is near."""

    name = "table"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that go on from what was typed."""
        from click.shell_completion import CompletionItem

        del param
        project = _project(ctx)
        return (
            [CompletionItem(name) for name in table_names(project) if name.startswith(incomplete)]
            if project
            else []
        )


class Setting(click.ParamType[str]):
    """NAME=VALUE of a parameter. `argument` names the argument with the pipeline or job."""

    name = "setting"

    def __init__(self, argument: str = "name") -> None:
        self._argument = argument

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return `NAME=` of the parameters of what is to be run, and then their default as a value."""
        from click.shell_completion import CompletionItem

        del param
        project = _project(ctx)
        # An option without its value yet keeps click from telling arguments: they are left over.
        runnable = ctx.params.get(self._argument) or next(
            (each for each in ctx.args if each[:1] != "-"), None
        )
        if project is None or not runnable:
            return []
        specs = parameters_of(project, runnable)
        name, typed, _ = incomplete.partition("=")
        if not typed:
            return [
                CompletionItem(f"{each}=", help=_about(spec))
                for each, spec in specs.items()
                if each.startswith(name)
            ]
        offers = [f"{name}={value}" for value in _values(specs.get(name, {}))]
        return [CompletionItem(offer) for offer in offers if offer.startswith(incomplete)]


def runnable_names(ctx: click.Context) -> list[str]:
    """Return ids of pipelines and jobs as the file names tell them; empty where there is no project."""
    return names_of(ctx.obj.project if ctx.obj else None)


def names_of(project: str | None) -> list[str]:
    """Return the names of a project's pipelines and jobs, as `runnable_names` does."""
    folder = project_of(project)
    return [*pipeline_files(folder), *job_files(folder)] if folder else []


def _project(ctx: click.Context) -> Path | None:
    return project_of(ctx.obj.project if ctx.obj else None)


def _about(spec: Mapping[str, Any]) -> str:
    default = f", default {spec['default']}" if spec.get("default") is not None else ""
    text = f"{spec.get('type', 'string')}{default}"
    return text if len(text) <= MAX_HELP else f"{text[: MAX_HELP - 1]}…"


def _values(spec: Mapping[str, Any]) -> list[str]:
    if spec.get("type") == "bool":
        return ["true", "false"]
    return [] if spec.get("default") is None else [str(spec["default"])]
