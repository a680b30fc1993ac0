"""Typed parameters of jobs: from the text of `--set NAME=VALUE` or from a YAML default to the value they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from runner.clock import parse_utc
from runner.errors import ConfigurationError, Problem, did_you_mean
from runner.specs import ParamSpec


def parse_param(kind: str, value: object, project: Path) -> Any:
    """Return the value of a parameter of that type. Raises `ValueError` that says what was expected."""
    if kind == "string" and isinstance(value, str):
        return value
    if kind == "int64":
        return int(str(value))
    if kind == "float64":
        return float(str(value))
    if kind == "bool" and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if kind == "timestamp":
        return value if isinstance(value, datetime) else parse_utc(str(value))
    if kind == "date":
        return value if isinstance(value, date) else date.fromisoformat(str(value))
    if kind == "path":
        return project / str(value)
    raise ValueError(f"{value!r} is not a {kind}")


def resolve_params(specs: Mapping[str, ParamSpec], given: Mapping[str, str], project: Path) -> dict[str, Any]:
    """Return the values of all parameters: given ones, else defaults.

    Raises `ConfigurationError` with every problem: unknown names, missing values, values that do not fit.
    """
    problems = []
    values: dict[str, Any] = {}
    for name in given:
        if name not in specs:
            problems.append(Problem(path=name, message="unknown parameter", hint=did_you_mean(name, specs)))
    for name, spec in specs.items():
        value = given.get(name, spec.default)
        if value is None:
            problems.append(Problem(path=name, message="parameter without a value", expected=spec.type))
            continue
        try:
            values[name] = parse_param(spec.type, value, project)
        except ValueError as error:
            problems.append(Problem(path=name, message=str(error), expected=spec.type))
    if problems:
        raise ConfigurationError(problems)
    return values
