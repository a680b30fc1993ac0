"""One call of the command line: its global options, and what is made from them when it is first needed."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from runner.cli.console import Console

if TYPE_CHECKING:
    from runner.loader import Project
    from runner.run_store import FileRunStore
    from runner.settings import Settings


@dataclass
class Invocation:
    """Global options. `verbosity` is the number of -v less the number of -q; `output` table, json or
    jsonl.
    """

    project: str | None = None
    verbosity: int = 0
    output: str = "table"
    color: str = "auto"
    log_format: str = "console"
    program: str = "run-pipeline"
    console: Console = field(default_factory=Console)

    @cached_property
    def settings(self) -> Settings:
        """The settings of the project; from then on their secrets are masked in all output.

        Raises `UsageError` where there is no project, `ConfigurationError` for settings that do not fit.
        """
        from runner.redaction import secret_values
        from runner.settings import Settings

        settings = Settings.load(self.project)
        self.console.redact.learn(secret_values(settings))
        return settings

    @cached_property
    def loaded(self) -> Project:
        """The declarations of the project.

        Raises `ConfigurationError` for files that cannot be read at all.
        """
        from runner.loader import open_project

        return open_project(self.settings)

    @cached_property
    def store(self) -> FileRunStore:
        """The run store, as it is: reading it neither creates it nor opens the warehouse."""
        from runner.run_store import FileRunStore

        return FileRunStore(self.settings.runs_dir)

    @property
    def traceparent(self) -> str | None:
        """The trace that a run is to belong to, as programs hand it on to those that they start."""
        return os.environ.get("TRACEPARENT")

    def command(self, *words: str) -> str:
        """Return a command line for people to type, in the project of this call."""
        import shlex

        project = ("--project", self.project) if self.project else ()
        return f"{self.program} {shlex.join((*words, *project))}"


def program_name() -> str:
    """Return what a person types to start this program from here.

    Its name, or the path of the repository's script. With os.path: pathlib and shutil cost a tenth of `--help`.
    """
    name = os.path.basename(sys.argv[0])
    if name != "__main__.py":
        return name or "run-pipeline"
    # What bin/run-pipeline sets; `python -m runner` does not.
    repository = os.environ.get("RUN_PIPELINE_FALLBACK_PROJECT")
    if not repository:
        return "python -m runner"
    script = os.path.join(repository, "bin", "run-pipeline")
    for folder in os.get_exec_path():
        found = os.path.join(folder, "run-pipeline")
        if os.access(found, os.X_OK):
            return "run-pipeline" if os.path.samefile(found, script) else script
    below = os.path.relpath(script)
    return script if below.startswith(os.pardir) else below


def program_words() -> list[str]:
    """Return the words that start this program from anywhere, the first an absolute path."""
    import shutil

    name = sys.argv[0]
    if os.path.basename(name) != "__main__.py":
        found = name if os.sep in name else shutil.which(name)
        return [os.path.abspath(found or name)]
    # What bin/run-pipeline sets; `python -m runner` does not.
    repository = os.environ.get("RUN_PIPELINE_FALLBACK_PROJECT")
    if repository:
        return [os.path.join(os.path.abspath(repository), "bin", "run-pipeline")]
    return [sys.executable, "-P", "-m", "runner"]
