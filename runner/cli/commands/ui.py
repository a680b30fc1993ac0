"""`run-pipeline ui`."""

from __future__ import annotations

import click

from runner.cli.invocation import Invocation
from runner.cli.options import RunnerCommand

PORT = 8765
EXAMPLE = """run-pipeline ui
run-pipeline ui --port 0 -o json
ssh -L 8765:127.0.0.1:8765 build.example.com run-pipeline ui"""


@click.command(name="ui", cls=RunnerCommand, example=EXAMPLE)
@click.option("--port", type=click.IntRange(min=0, max=65535), default=PORT, show_default=True,
              help="Where to listen; 0 takes a free port.")  # fmt: skip
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="The address to listen on."
)
@click.option(
    "--public",
    is_flag=True,
    help="Allow an address that other machines reach: plain HTTP, only the token protects it.",
)
@click.pass_obj
def command(invocation: Invocation, port: int, host: str, public: bool) -> None:
    """Show runs in the browser, live.

    Prints the address to open, with a token that is made for this start, and serves until Ctrl-C. It only reads, and
    only the run store: also while runs go on. Needs the extra `ui` (Starlette and uvicorn).
    """
    import gc

    gc.enable()  # starting makes no garbage, a server does
    try:
        from runner.cli.ui.guard import is_loopback
        from runner.cli.ui.serving import listen, serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "h11"):
            raise
        from runner.errors import UsageError
        from runner.extras import install_command

        raise UsageError(
            f"ui needs {error.name}, which is not installed", hint=install_command("starlette", "uvicorn")
        ) from error
    from runner.cli.page.reading import Reading
    from runner.errors import UsageError

    if not public and not is_loopback(host):
        raise UsageError(
            f"other machines reach {host}", hint="--public serves it all the same, --host 127.0.0.1 does not"
        )
    reading = Reading(invocation.store)
    with listen(host, port) as listener:
        serve(reading, invocation.console.redact, host, listener, lambda url: _tell(invocation, url))


def _tell(invocation: Invocation, url: str) -> None:
    console = invocation.console
    if invocation.output == "table":
        console.data(url)
        console.say("open it in a browser; Ctrl-C ends")
    else:
        console.json({"url": url}, indent=None)
    console.flush()
