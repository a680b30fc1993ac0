"""What the process's exit code says."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; documented for scripts, timers and alerts."""

    OK = 0
    """Done. Also: there was nothing to do; rows were quarantined within their limit."""

    FAILED = 1
    """Something failed: at least one job, or the command's own work."""

    USAGE = 2
    """The command line or the configuration is wrong. Nothing ran."""

    COULD_NOT_TELL = 3
    """Every failure was an unavailable warehouse, authentication or a quota: nothing is known about the
    data.
    """

    SLOWER = 4
    """With `--fail-on-regression`: everything succeeded, but a step got slower."""

    BUG = 70
    """An exception that the engine did not expect (EX_SOFTWARE)."""

    HELD = 75
    """Another runner holds a lock (EX_TEMPFAIL): later is fine."""

    RUN_TIMEOUT = 124
    """The run was stopped at its time limit, as timeout(1) says it."""

    INTERRUPTED = 130
    """Ended by SIGINT (128 + 2), after clean-up."""

    TERMINATED = 143
    """Ended by SIGTERM (128 + 15), after clean-up."""


OF_CATEGORY = {
    "config": ExitCode.USAGE,
    "not_found": ExitCode.USAGE,
    "locked": ExitCode.HELD,
    "timeout": ExitCode.RUN_TIMEOUT,
    "unavailable": ExitCode.COULD_NOT_TELL,
    "auth": ExitCode.COULD_NOT_TELL,
    "quota": ExitCode.COULD_NOT_TELL,
    "bug": ExitCode.BUG,
}
"""Exit code by error category, for an error that ended the command; a category not named here is FAILED."""
