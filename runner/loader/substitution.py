"""`{param: NAME}`: parameters of a job put where they are named, before the job is validated.

A value takes the place of the mapping in the tree and stands where the mapping stood, so that an error about
it points at the file as it was written. It is typed by then; nothing is ever pasted into a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.errors import did_you_mean
from runner.loader.documents import Document, Report
from runner.loader.nodes import Node, Path, describe, shorten

PARAM = "param"


class Missing:
    """Stands for the value of a parameter that must be given and was not; `sample` has its type."""

    def __init__(self, sample: Any) -> None:
        self.sample = sample


def substitute(document: Document, values: Mapping[str, Any], report: Report) -> set[str]:
    """Replace every `{param: NAME}` below `steps`, `queue` and the other keys of a job but names, in place.

    `values` are the job's parameters by name (a `Missing` for one without a value). Names that are not
    declared go into the report. Returns the names that were used.
    """
    used: set[str] = set()
    _walk(document, document.root, (), values, used, report)
    return used


def _walk(
    document: Document, node: Node, path: Path, values: Mapping[str, Any], used: set[str], report: Report
) -> None:
    if isinstance(node.value, dict):
        if node.value.keys() == {PARAM}:
            _replace(document, node, path, values, used, report)
            return
        for key, child in node.value.items():
            if not _is_written_out(path, key):
                _walk(document, child, (*path, key), values, used, report)
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            _walk(document, child, (*path, index), values, used, report)


def _is_written_out(path: Path, key: str) -> bool:
    """Tell whether no parameter can stand there: names of the job and its steps, what a step does, and the parameters
    themselves.
    """
    if not path:
        return key in ("job_id", "params")
    return len(path) == 2 and path[0] == "steps" and key in ("step_id", "op")


def _replace(
    document: Document, node: Node, path: Path, values: Mapping[str, Any], used: set[str], report: Report
) -> None:
    name = node.value[PARAM].value
    node.keys = {}
    if not isinstance(name, str):
        report.add(document, path, f"{{param: …}} got {describe(name)}", expected="the name of a parameter")
    elif name not in values:
        hint = did_you_mean(name, values)
        names = ", ".join(values) or "nothing: this job declares no params"
        report.add(
            document,
            path,
            f"unknown parameter {shorten(name)}",
            expected="" if hint else f"one of {names}",
            hint=hint,
        )
    else:
        used.add(name)
        value = values[name]
        node.unresolved = isinstance(value, Missing)
        node.value = value.sample if isinstance(value, Missing) else value
        return
    node.value = None
    node.unresolved = True
