"""Reads from runs that have ended how long their steps took, and nothing else: each run looks at many before it."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path

from runner.analysis.regression import RunTimes, StepKey
from runner.files import Folder, read_all
from runner.run_store.layout import SUMMARY


def step_times(path: Path, of: Collection[StepKey] | None) -> RunTimes | None:
    """Return the times of a run's steps, of all or of those named; None for one whose summary cannot be read."""
    try:
        with Folder(path) as folder:
            fd = folder.open(SUMMARY, os.O_RDONLY)
        try:
            data = json.loads(read_all(fd))
        finally:
            os.close(fd)
        return RunTimes.from_dict(data, of=of)
    except (OSError, LookupError, ValueError, TypeError, AttributeError):
        return None
