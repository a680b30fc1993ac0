"""Which runs by their time: `--since TIME` or `--last 30d`, for every command that asks for many."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click

from runner.cli.commands.run import AsOf

F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """`30d`, `12h`, `5m`, `30s`, `500ms`, as seconds."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        from runner.clock import parse_duration

        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def period_options(command: F) -> F:
    """Give a command `since` and `last`; `beginning` makes one time of both."""
    for option in (
        click.option("--last", type=Duration(), metavar="DURATION", help="Only of the last 30d, 12h, 5m, …"),
        click.option("--since", type=AsOf(), metavar="TIME", help="Only from this time or date on (UTC)."),
    ):
        command = option(command)
    return command


def beginning(since: datetime | None, last: float | None) -> datetime | None:
    """Return the time (UTC) from which on is asked for; None for all. Raises `click.UsageError` for both options."""
    if since is not None and last is not None:
        raise click.UsageError("--since and --last say the same in two ways: give one of them")
    if last is None:
        return since
    from runner.clock import utc_now

    return utc_now() - timedelta(seconds=last)
