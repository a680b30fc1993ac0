"""Typed parameters, from text and from YAML values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ConfigurationError
from runner.params import EXPECTED, parse_param, resolve_params
from runner.specs import PARAM_TYPES, ParamSpec

PROJECT = Path("/srv/project")
SIX = datetime(2026, 2, 12, 6, tzinfo=UTC)

TAKEN = [
    ("string", "x", "x"),
    ("string", "", ""),
    ("int64", "42", 42),
    ("int64", "-7", -7),
    ("int64", 42, 42),
    ("int64", str(2**63 - 1), 2**63 - 1),
    ("float64", "0.5", 0.5),
    ("float64", "1e3", 1000.0),
    ("float64", 2, 2.0),
    ("bool", "true", True),
    ("bool", "false", False),
    ("bool", True, True),
    ("timestamp", "2026-02-12T06:00:00Z", SIX),
    ("timestamp", "2026-02-12 08:00:00+02:00", SIX),
    ("timestamp", "2026-02-12t06:00:00.000001z", SIX + timedelta(microseconds=1)),
    ("timestamp", SIX.astimezone(timezone(timedelta(hours=2))), SIX),
    ("date", "2026-02-12", date(2026, 2, 12)),
    ("date", date(2026, 2, 12), date(2026, 2, 12)),
    ("path", "inbox/a.mbox", PROJECT / "inbox" / "a.mbox"),
    ("path", "/var/mail", Path("/var/mail")),
]
REFUSED = [
    ("string", 5), ("string", True),
    ("int64", "1.5"), ("int64", "1_000"), ("int64", ""), ("int64", " 1"), ("int64", 1.0), ("int64", True),
    ("int64", str(2**63)), ("int64", "٣"), ("int64", "9" * 5000),
    ("float64", "nan"), ("float64", "inf"), ("float64", "1e400"), ("float64", "x"), ("float64", True),
    ("float64", 10**400), ("float64", "1_0"),
    ("bool", "yes"), ("bool", "True"), ("bool", "1"), ("bool", 1),
    ("timestamp", "2026-02-12T06:00:00"), ("timestamp", "2026-02-12"), ("timestamp", "now"),
    ("timestamp", "2026-02-30T06:00:00Z"), ("timestamp", "2026-02-12T06:00:00.0000001Z"), ("timestamp", 5),
    ("timestamp", SIX.replace(tzinfo=None)), ("timestamp", "0001-01-01T00:00:00+02:00"),
    ("date", "2026-2-1"), ("date", "2026-02-30"), ("date", "20260212"), ("date", SIX), ("date", 5),
    ("path", ""), ("path", 5), ("path", "a\0b"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given", "value"), TAKEN, ids=str)
def test_a_value_that_fits_is_taken(kind: str, given: Any, value: Any) -> None:
    parsed = parse_param(kind, given, PROJECT)
    assert parsed == value
    assert type(parsed) is type(value)


def test_times_are_utc() -> None:
    assert parse_param("timestamp", "2026-02-12T08:00:00+02:00", PROJECT).tzinfo is UTC


@pytest.mark.parametrize(("kind", "given"), REFUSED, ids=lambda value: repr(value)[:30])
def test_a_value_that_does_not_fit_says_what_was_expected(kind: str, given: Any) -> None:
    with pytest.raises(ValueError, match="is not ") as refused:
        parse_param(kind, given, PROJECT)
    assert str(refused.value).endswith(EXPECTED[kind])


def test_every_type_is_known() -> None:
    assert set(EXPECTED) == set(PARAM_TYPES)


SPECS = {
    "binding": ParamSpec(default="intake_01"),
    "limit": ParamSpec(type="int64"),
    "since": ParamSpec(type="timestamp", default="2026-02-12T06:00:00Z"),
}


def test_given_values_win_over_defaults() -> None:
    assert resolve_params(SPECS, {"limit": "5"}, PROJECT) == {
        "binding": "intake_01",
        "limit": 5,
        "since": SIX,
    }
    assert resolve_params(SPECS, {"limit": "5", "binding": ""}, PROJECT)["binding"] == ""
    assert resolve_params({}, {}, PROJECT) == {}


def test_all_problems_are_found_at_once() -> None:
    with pytest.raises(ConfigurationError) as wrong:
        resolve_params(SPECS, {"bindng": "x", "since": "yesterday"}, PROJECT)
    unknown, missing, unfit = wrong.value.problems
    assert (unknown.path, unknown.message) == ("bindng", "unknown parameter 'bindng'")
    assert (unknown.expected, unknown.hint) == ("one of binding, limit, since", "did you mean 'binding'?")
    assert (missing.path, missing.message) == ("limit", "parameter 'limit' has no value")
    assert missing.expected.startswith("--set limit=VALUE with a whole number")
    assert unfit.path == "since"
    assert "'yesterday' is not a time with its offset" in unfit.message


def test_a_parameter_of_a_job_without_any_is_unknown() -> None:
    with pytest.raises(
        ConfigurationError, match="unknown parameter 'x'; expected no parameter, none is declared"
    ):
        resolve_params({}, {"x": "1"}, PROJECT)
