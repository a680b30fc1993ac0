"""Plain scalars: YAML 1.2's core schema, and refusal of what PyYAML (YAML 1.1) reads otherwise."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from runner.loader.scalars import AmbiguousScalar, resolve_plain

VALUES: dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True, "FALSE": False,
    "0": 0, "7": 7, "-12": -12, "+12": 12, "-0": 0, "0x1F": 31, "1.5": 1.5, "-1.": -1.0, ".5": 0.5, "1.0e+3": 1000.0,
    ".inf": math.inf, "-.INF": -math.inf, "+.inf": math.inf, "word": "word", "nULL": "nULL", "1.5.2": "1.5.2",
    "10:99": "10:99", "12a": "12a", "-": "-", "+": "+", ".": ".", "..": "..", "-x": "-x", "2026-1": "2026-1",
    "1,000": "1,000", "0x": "0x", "0xg": "0xg", "e3": "e3", "5m": "5m", "yEs": "yEs", "nan": "nan", "inf": "inf",
    "2026-02-30x": "2026-02-30x",
}  # fmt: skip

AMBIGUOUS = (
    "yes", "Yes", "YES", "no", "No", "on", "OFF", "y", "N", "=", "<<", "010", "-07", "08", "0o17", "0b101", "+0x1f",
    "1_000", "0x1_0", "1_0.5", "1:30", "12:30:45", "190:20:30.5", "2026-01-01", "2026-1-1", "2026-01-01T00:00:00Z",
    "2026-01-01 10:00:00 +1", "1e3", "1e+3", "1.5e3", "-2E5", "00",
)  # fmt: skip


@pytest.mark.parametrize("text", VALUES)
def test_value(text: str) -> None:
    value = resolve_plain(text)
    assert value == VALUES[text]
    assert type(value) is type(VALUES[text])


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_ambiguous(text: str) -> None:
    with pytest.raises(AmbiguousScalar):
        resolve_plain(text)


def test_not_a_number() -> None:
    assert math.isnan(resolve_plain(".NaN"))  # type: ignore[arg-type]


def test_numbers_too_long_to_read() -> None:
    with pytest.raises(ValueError, match="more than 40 characters"):
        resolve_plain("1" * 5_000)
    assert resolve_plain("1" * 41 + "x") == "1" * 41 + "x"


NUMBER_LIKE = st.text(st.sampled_from("0123456789+-._:eExob Tz"), min_size=1, max_size=12).map(str.strip)


@given(NUMBER_LIKE.filter(bool))
@example("1:30")
@example("-.0")
@example("2026-01-01")
def test_whatever_is_accepted_is_what_yaml_1_1_reads_too(text: str) -> None:
    """The law behind the refusals: a file means the same to us and to a reader of YAML 1.1."""
    try:
        ours = resolve_plain(text)
    except ValueError:
        return
    loader = yaml.SafeLoader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    theirs = loader.construct_object(yaml.ScalarNode(tag, text))
    assert ours == theirs or (ours != ours and theirs != theirs)
    assert type(ours) is type(theirs)
