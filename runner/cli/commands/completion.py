"""`run-pipeline completion`."""

from __future__ import annotations

import click

from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand

PROGRAM = "run-pipeline"
EXAMPLE = """run-pipeline completion bash > ~/.local/share/bash-completion/completions/run-pipeline
run-pipeline completion zsh > ~/.zfunc/_run-pipeline
run-pipeline completion fish > ~/.config/fish/completions/run-pipeline.fish"""


@click.command(name="completion", cls=RunnerCommand, example=EXAMPLE)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete names and options.

    Completed are commands, options, pipelines, jobs, runs, and parameters after --set. For the shell that is
    open: eval "$(run-pipeline completion bash)", or run-pipeline completion fish | source.
    """
    from runner.cli.completion_scripts import script

    invocation: Invocation = ctx.obj
    for line in script(shell, ctx.find_root().command, PROGRAM).splitlines():
        invocation.console.data(line)
