"""One line an event: for files, pipes, and everything that is not a terminal."""

from __future__ import annotations

from runner.cli.console import DIM, RED, YELLOW, Console, Styled
from runner.cli.escaping import lines
from runner.cli.sentences import error_text, job_outcome, sentence
from runner.cli.status import styled_status
from runner.events import (
    Event,
    JobFinished,
    JobRetrying,
    JobStarted,
    Landed,
    Noticed,
    RunStarted,
    StepFinished,
)
from runner.records import PipelineRun, RunRecord, Status

GOOD = (Status.SUCCESS, Status.SKIPPED)


def _is_about_own_table(event: Noticed) -> bool:
    """Whether a notice is about a table of the engine, which is of no interest to most."""
    return event.code.startswith("table.") and str(event.details.get("table", "")).startswith("ops.")


class LineProgress:
    """Says what happens. `verbosity` below 0: only warnings and failures; above 0: steps and landings,
    too.
    """

    def __init__(self, console: Console, verbosity: int = 0) -> None:
        self._console = console
        self._verbosity = verbosity

    def on_event(self, event: Event) -> None:
        """Say what happened, if it is worth a line."""
        match event:
            case Noticed():
                self._notice(event)
            case JobFinished() if self._verbosity >= 0 or event.record.status not in GOOD:
                self._finished(event.record)
            case JobRetrying():
                self._console.say(f"{event.job_id}: {sentence(event)}")
            case RunStarted() if self._verbosity >= 0:
                self._console.say(sentence(event))
            case JobStarted() if self._verbosity >= 0:
                self._started(event)
            case StepFinished() | Landed() if self._verbosity > 0:
                self._console.say(Styled(f"{event.job_id}: {sentence(event)}", DIM))
            case _:
                return

    def tick(self) -> None:
        """Nothing moves here between events."""

    def finish(self, run: PipelineRun | None) -> None:
        """Say once more, all together, what failed."""
        if run is None:
            return
        for error in run.errors:
            self._error("run", error_text(error))
        for job in run.jobs:
            if job.status is not Status.SKIPPED:
                for error in job.errors:
                    self._error(job.job_id, error_text(error))

    def _started(self, event: JobStarted) -> None:
        self._console.say(f"{event.job_id}: {sentence(event)}")

    def _finished(self, record: RunRecord) -> None:
        word = styled_status(record.status)
        self._console.say(f"{record.job_id}: ", word, job_outcome(record).removeprefix(word.text))

    def _notice(self, event: Noticed) -> None:
        if event.level == "info" and self._verbosity < (1 if _is_about_own_table(event) else 0):
            return
        job = f" {event.job_id}:" if event.job_id else ""
        style = {"warning": YELLOW, "error": RED}.get(event.level, DIM)
        self._console.say(Styled(f"{event.level}:", style), f"{job} {sentence(event)}")

    def _error(self, owner: str, text: str) -> None:
        first, *rest = lines(text)
        self._console.say(Styled("error", RED), f" in {owner}: {first}")
        for line in rest:
            self._console.say(f"  {line}")
