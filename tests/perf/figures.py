"""What was measured, as lines below the tests: also where all of them passed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Figure = Callable[[str, str], None]
"""`figure("4 jobs of 30 s, 4 workers", "30.1 s")` adds a line."""


def print_figures(terminal: pytest.TerminalReporter) -> None:
    """Print the lines of all tests, as a section of the summary."""
    reports = [*terminal.stats.get("passed", []), *terminal.stats.get("failed", [])]
    lines = [value for report in reports for name, value in report.user_properties if name == "figure"]
    if not lines:
        return
    terminal.section("figures")
    width = max(len(what) for what, _ in lines)
    for what, value in lines:
        terminal.line(f"{what:<{width}}  {value}")
