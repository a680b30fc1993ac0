"""Loggers of the engine: the standard library's, below the name `runner`, silent until someone configures them.

Only the command line configures structlog on top of them. Inside an application the records go where the
application sends those of any other library.
"""

from __future__ import annotations

import logging

logging.getLogger("runner").addHandler(logging.NullHandler())


def get_logger(name: str) -> logging.Logger:
    """Return the logger `runner.NAME` (a name that already starts with `runner` is taken as it is)."""
    return logging.getLogger(name if name.partition(".")[0] == "runner" else f"runner.{name}")
