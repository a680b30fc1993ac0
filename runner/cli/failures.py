"""What went wrong, in words: for errors that end a command before or outside of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.cli.console import RED, Styled
from runner.cli.escaping import lines
from runner.cli.exit_codes import OF_CATEGORY, ExitCode
from runner.cli.wording import count
from runner.errors import ConfigurationError, HeldByAnother, RunPipelineError, category_of

if TYPE_CHECKING:
    from runner.cli.invocation import Invocation


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code for an error that ended a command."""
    if isinstance(error, OSError):
        return ExitCode.FAILED
    return OF_CATEGORY.get(category_of(error), ExitCode.FAILED)


def report(invocation: Invocation, error: Exception) -> None:
    """Say on stderr what went wrong; a traceback only for what nobody expected, and only with -v."""
    if invocation.log_format == "json":
        _report_json(invocation, error)
    elif isinstance(error, ConfigurationError):
        _report_problems(invocation, error)
    elif isinstance(error, RunPipelineError):
        _report_known(invocation, error)
    elif isinstance(error, OSError):
        _say_error(
            invocation, f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        )
        _traceback(invocation, error)
    else:
        _say_error(invocation, f"this is a bug in run-pipeline: {type(error).__name__}: {error}")
        _traceback(invocation, error)
        if invocation.verbosity < 1:
            invocation.console.say("run it again with -v for the traceback, and please report it with both")


def _report_known(invocation: Invocation, error: RunPipelineError) -> None:
    _say_error(invocation, str(error))
    if isinstance(error, HeldByAnother):
        invocation.console.say("nothing ran; it is safe to try again later")


def _report_problems(invocation: Invocation, error: ConfigurationError) -> None:
    for problem in error.problems:
        invocation.console.say_text(str(problem))
    _say_error(invocation, f"{count(len(error.problems), 'problem')} in the configuration, nothing was run")


def _say_error(invocation: Invocation, text: str) -> None:
    first, *rest = lines(invocation.console.redact(text))
    invocation.console.say(Styled("error:", RED), f" {first}")
    for line in rest:
        invocation.console.say(f"  {line}")


def _traceback(invocation: Invocation, error: Exception) -> None:
    if invocation.verbosity >= 1:
        import traceback

        invocation.console.say_text("".join(traceback.format_exception(error)))


def _report_json(invocation: Invocation, error: Exception) -> None:
    from runner.clock import format_utc, utc_now

    entry = {
        "timestamp": format_utc(utc_now()),
        "level": "error",
        "event": "command.failed",
        "category": category_of(error),
        "message": str(error),
        "type": type(error).__name__,
    }
    if not isinstance(error, RunPipelineError):
        import traceback

        entry["exception"] = "".join(traceback.format_exception(error))
    invocation.console.say_json(entry)
