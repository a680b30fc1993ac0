"""The process around a command: exceptions become messages and exit codes, and the end is quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from runner.cli.app import build_app
from runner.cli.console import RED, Styled
from runner.cli.exit_codes import ExitCode
from runner.cli.invocation import Invocation, program_name
from runner.cli.signals import Interrupted, signals
from runner.errors import RunPipelineError


def execute(argv: Sequence[str] | None) -> int:
    """Run one command line and return its exit code. Prints what went wrong on stderr; raises nothing."""
    invocation = Invocation(program=program_name())
    with signals:
        try:
            code = _dispatch(argv, invocation)
            invocation.console.flush()
        except Interrupted as interrupted:
            code = interrupted.exit_code
            invocation.console.say(f"ended by {interrupted.signal_name}")
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
        except OSError as error:
            code = _failed(invocation, error)
        _flush(invocation)
        return int(code)


def _dispatch(argv: Sequence[str] | None, invocation: Invocation) -> int:
    app = build_app()
    try:
        code = app.main(
            args=None if argv is None else list(argv),
            prog_name=invocation.program,
            complete_var="_RUN_PIPELINE_COMPLETE",
            standalone_mode=False,
            obj=invocation,
        )
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return ExitCode.USAGE
    except click.ClickException as error:
        return _usage(invocation, error)
    except click.Abort:
        invocation.console.say("given up: nothing was done")
        return ExitCode.USAGE
    except RunPipelineError as error:
        return _failed(invocation, error)
    except Exception as error:  # noqa: BLE001 - the outermost edge: a message and code 70, never a bare traceback
        return _failed(invocation, error)
    return int(code or 0)


def _usage(invocation: Invocation, error: click.ClickException) -> int:
    invocation.console.say(Styled("error:", RED), f" {error.format_message()}")
    if isinstance(error, click.UsageError) and error.ctx is not None:
        invocation.console.say(f"{error.ctx.command_path} --help says more")
    return ExitCode.USAGE


def _failed(invocation: Invocation, error: Exception) -> int:
    from runner.cli.failures import exit_code, report

    report(invocation, error)
    return exit_code(error)


def _flush(invocation: Invocation) -> None:
    """Hand out what is left.

    An unwritable stdout was already an error above; stderr is all that is left to try.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            continue


def leave(code: int) -> NoReturn:
    """End the process now, after the exit handlers, with all files of ours closed and output flushed.

    Taking the interpreter apart costs tens of milliseconds with DuckDB and Arrow loaded
    (docs/performance.md) and would wait for threads: a function that was cancelled and given up as deaf
    must not keep the process alive.
    """
    import atexit
    import os

    atexit._run_exitfuncs()  # what projects and libraries registered is still done
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)
