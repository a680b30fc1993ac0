"""The parameters of a job: what was declared, what was given, and the values that follow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.loader.documents import Document, Report


def job_values(
    document: Document, given: Mapping[str, str], project: Path, report: Report, *, required: bool
) -> dict[str, Any]:
    """Return the typed values of a job's parameters."""
    del given, project, report, required
    params = document.root.child("params")
    if params is None or not isinstance(params.value, dict):
        return {}
    return {name: (node.child("default") or node).plain() for name, node in params.value.items()}
