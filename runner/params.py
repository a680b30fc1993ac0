"""Typed parameters of jobs: from the text of `--set NAME=VALUE`, or from a YAML default, to the value they
mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from runner.clock import parse_utc
from runner.errors import ConfigurationError, Problem, did_you_mean
from runner.specs import ParamSpec

EXPECTED = {
    "string": "text",
    "int64": "a whole number of 64 bits, for example 42",
    "float64": "a finite number, for example 0.5",
    "bool": "true or false",
    "timestamp": "a time with its offset, for example 2026-02-12T06:00:00Z",
    "date": "a date, for example 2026-02-12",
    "path": "the path of a file or folder",
}
"""What a value of each type looks like, for messages."""

_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# RFC 3339, section 5.6, and as many digits of a second as a timestamp keeps
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def parse_param(kind: str, value: object, project: Path) -> Any:
    """Return the value of a parameter of type `kind` (one of `PARAM_TYPES`) from text or from a YAML value.

    Timestamps become aware UTC, relative paths are taken from the project folder. Raises `ValueError` that
    says what was expected.
    """
    try:
        return _path(value, project) if kind == "path" else _PARSERS[kind](value)
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is not {EXPECTED[kind]}") from None


def resolve_params(specs: Mapping[str, ParamSpec], given: Mapping[str, str], project: Path) -> dict[str, Any]:
    """Return the values of all declared parameters: the given ones, else the defaults.

    Raises `ConfigurationError` with everything that is wrong: unknown names, missing values, values that do
    not fit.
    """
    problems = [
        Problem(path=name, message=f"unknown parameter {name!r}", expected=_one_of(specs),
                hint=did_you_mean(name, specs))
        for name in given
        if name not in specs
    ]  # fmt: skip
    values: dict[str, Any] = {}
    for name, spec in specs.items():
        value = given.get(name, spec.default)
        if value is None:
            expected = f"--set {name}=VALUE with {EXPECTED[spec.type]}"
            problems.append(Problem(path=name, message=f"parameter {name!r} has no value", expected=expected))
            continue
        try:
            values[name] = parse_param(spec.type, value, project)
        except ValueError as error:
            problems.append(Problem(path=name, message=f"parameter {name!r}: {error}"))
    if problems:
        raise ConfigurationError(problems)
    return values


def _one_of(specs: Mapping[str, ParamSpec]) -> str:
    return f"one of {', '.join(specs)}" if specs else "no parameter, none is declared"


def _string(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError


def _integer(value: object) -> int:
    number = int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value
    if isinstance(number, int) and not isinstance(number, bool) and -(2**63) <= number < 2**63:
        return number
    raise ValueError


def _float(value: object) -> float:
    number = float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value
    if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(float(number)):
        return float(number)
    raise ValueError


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ValueError


def _timestamp(value: object) -> datetime:
    if isinstance(value, datetime):
        return parse_utc(value.isoformat())
    if isinstance(value, str) and _TIME.fullmatch(value):
        return parse_utc(value.upper())
    raise ValueError


def _date(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and _DATE.fullmatch(value):
        return date.fromisoformat(value)
    raise ValueError


def _path(value: object, project: Path) -> Path:
    if isinstance(value, str | Path) and str(value) and "\0" not in str(value):
        return project.absolute() / value
    raise ValueError


_PARSERS: dict[str, Callable[[object], Any]] = {
    "string": _string,
    "int64": _integer,
    "float64": _float,
    "bool": _bool,
    "timestamp": _timestamp,
    "date": _date,
}
