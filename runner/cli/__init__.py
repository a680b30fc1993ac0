"""The command line: arguments, signals, exit codes, rendering.

The only place that prints, handles signals, or configures logging. `main` is the console script.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence

from runner.cli.process import execute, leave

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (`ExitCode`).

    Without `argv` the words are those of the process, and the process is left with the code.
    """
    if argv is None:
        gc.disable()  # starting makes many objects and no garbage; `cli.execution` enables it again
        leave(execute(None))
    return execute(argv)
