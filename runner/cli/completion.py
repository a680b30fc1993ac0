"""Shell completion of pipelines and jobs: by file names, so that a Tab costs no YAML and no settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class RunnableName(click.ParamType[str]):
    """The name of a pipeline or job. Any text passes: the loader knows better, and names what is near."""

    name = "name"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that go on from what was typed."""
        from click.shell_completion import CompletionItem

        del param
        return [CompletionItem(name) for name in runnable_names(ctx) if name.startswith(incomplete)]


def runnable_names(ctx: click.Context) -> list[str]:
    """Return ids of pipelines and jobs as the file names tell them; empty where there is no project."""
    return names_of(ctx.obj.project if ctx.obj else None)


def names_of(project: str | None) -> list[str]:
    """Return the names of a project's pipelines and jobs, as `runnable_names` does."""
    configs = _configs(project)
    if configs is None:
        return []
    files = (*sorted((configs / "pipelines").glob("*.yaml")), *sorted((configs / "jobs").rglob("*.yaml")))
    return [file.stem for file in files]


def _configs(project: str | None) -> Path | None:
    import os

    named = project or os.environ.get("RUN_PIPELINE_PROJECT")
    here = Path(named) if named else Path.cwd()
    fallback = os.environ.get("RUN_PIPELINE_FALLBACK_PROJECT")
    folders: list[Path] = [here, *([] if named else here.parents), *([Path(fallback)] if fallback else [])]
    for folder in folders:
        if (folder / "configs" / "runner.toml").is_file():
            return folder / "configs"
    return None
