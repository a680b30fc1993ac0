"""The parameters of a job: what was declared, what was given, and the typed values that follow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from runner.loader.documents import Document, Report
from runner.loader.substitution import Missing
from runner.loader.validation import validate
from runner.params import parse_param
from runner.specs import ParamSpec

_SAMPLES: Mapping[str, Any] = {
    "string": "x",
    "int64": 1,
    "float64": 1.0,
    "bool": True,
    "timestamp": datetime(2000, 1, 1, tzinfo=UTC),
    "date": date(2000, 1, 1),
    "path": "x",
}
"""What stands in for a value that is not known yet, so that the rest of the job can be checked."""


def job_values(
    document: Document, given: Mapping[str, str], project: Path, report: Report, *, required: bool
) -> dict[str, Any]:
    """Return a job's parameters by name: the text of `given`, else the default, as the declared type (a path
    as text: a function that wants a `Path` says so by its annotation).

    A parameter with neither is a problem if `required`, else a `Missing`. Problems point at the declaration.
    """
    params = document.root.child("params")
    if params is None or not isinstance(params.value, dict):
        return {}
    values: dict[str, Any] = {}
    for name in params.value:
        spec = validate(ParamSpec, document, report, ("params", name))
        values[name] = (
            _value(document, name, spec, given, project, report, required=required)
            if spec
            else Missing(_SAMPLES["string"])
        )
    return values


def _value(
    document: Document,
    name: str,
    spec: ParamSpec,
    given: Mapping[str, str],
    project: Path,
    report: Report,
    *,
    required: bool,
) -> Any:
    text = given.get(name, spec.default)
    sample = Missing(_SAMPLES[spec.type])
    if text is None:
        if required:
            message = f"parameter {name!r} has no value"
            report.add(
                document, ("params", name), message, expected=f"--set {name}=VALUE, or a default", at_key=True
            )
        return sample
    try:
        value = parse_param(spec.type, text, project)
    except ValueError as error:
        where = f"--set {name}: " if name in given else ""
        path = ("params", name) if name in given else ("params", name, "default")
        reason, _, expected = str(error).partition("; expected ")
        report.add(document, path, f"{where}{reason}", expected=expected)
        return sample
    return str(value) if isinstance(value, Path) else value
