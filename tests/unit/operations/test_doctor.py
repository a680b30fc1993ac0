"""doctor: what a profile of keys means, without a warehouse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runner.operations.doctor import outlook, verdicts
from runner.operations.doctor.finding import Finding
from runner.ports import IncrementalCounts, IncrementalRead, KeyProfile
from runner.specs import Incremental, TableSpec

TARGET = TableSpec.model_validate(
    {"dataset": "d", "table": "t", "columns": [{"name": "k", "type": "string"}], "key": ["k"]}
)
GOOD = KeyProfile(
    source_rows=60,
    source_distinct=60,
    source_nulls=0,
    target_rows=420,
    target_distinct=60,
    target_nulls=0,
    matched=60,
    source_type="VARCHAR",
    target_type="VARCHAR",
    source_samples=("a1",),
    target_samples=("a1",),
)


def findings(profile: KeyProfile, **spec: Any) -> list[Finding]:
    incremental = Incremental.model_validate(
        {
            "mode": "not_exists",
            "target_dataset": "d",
            "target_table": "t",
            "source_key": "k",
            "target_key": "k",
            **spec,
        }
    )
    return list(verdicts(profile, IncrementalRead(spec=incremental, target=TARGET, job_id="j", step_id="s")))


def levels(found: list[Finding]) -> list[str]:
    return [finding.level for finding in found]


def test_matching_keys_are_well() -> None:
    (finding,) = findings(GOOD)

    assert finding == Finding(level="ok", text="60 of 60 source keys (100.0 %) are in the target")


def test_keys_that_never_match_are_an_error_with_samples_and_the_repair() -> None:
    profile = replace(
        GOOD, matched=0, target_samples=("co:a1",), sampled=60, repairs=(("co:", "", 59), ("c", "", 1))
    )

    error, repair = findings(profile)

    assert error.level == "error"
    assert "none of the 60 source keys" in error.text
    assert "source 'a1' against target 'co:a1'" in error.text
    assert repair.repair == 'key_prefix: "co:"'
    assert "59 of 60" in repair.text


def test_a_wrong_prefix_is_replaced_and_a_needless_one_emptied() -> None:
    profile = replace(GOOD, matched=0, sampled=60, repairs=(("", "#x", 60),))

    found = findings(profile, key_prefix="me:")

    assert found[1].repair == 'key_prefix: ""\nkey_suffix: "#x"'


def test_repairs_are_quoted_for_yaml() -> None:
    profile = replace(GOOD, matched=0, sampled=1, repairs=(('a"b\\', "", 1),))

    assert findings(profile)[1].repair == 'key_prefix: "a\\"b\\\\"'


@pytest.mark.parametrize(
    ("change", "expected", "words"),
    [
        ({"source_type": "BIGINT"}, ["error", "ok"], "different types: BIGINT against VARCHAR"),
        ({"source_nulls": 3, "source_rows": 63}, ["ok", "warning"], "source rows without a key: 3"),
        ({"target_nulls": 2}, ["ok", "note"], "target rows without a key: 2"),
        ({"source_rows": 65}, ["ok", "note"], "share their key with another: 5"),
        ({"source_rows": 0, "source_distinct": 0, "matched": 0}, ["note"], "nothing to compare"),
        ({"target_rows": 0, "target_distinct": 0, "matched": 0}, ["note"], "everything is new"),
        (
            {"matched": 30, "sampled": 30, "repairs": (("co:", "", 20),)},
            ["ok", "warning"],
            "two formats are mixed",
        ),
        (
            {"matched": 30, "sampled": 30, "repairs": (("co:", "", 2),)},
            ["ok"],
            "30 of 60 source keys (50.0 %)",
        ),
        ({"matched": 0}, ["error"], "every run reads all of them again"),
        ({"matched": 0, "sampled": 60, "repairs": (("a", "b", 2),)}, ["error"], "every run reads all"),
    ],
)
def test_verdicts(change: dict[str, Any], expected: list[str], words: str) -> None:
    found = findings(replace(GOOD, **change))

    assert levels(found) == expected
    assert any(words in finding.text for finding in found)


def test_the_outlook_names_what_is_remembered() -> None:
    counts = IncrementalCounts(total=20, new=2, present=16, remembered=1, null_key=1)

    assert outlook(counts).text == (
        "the next run reads 3 of 20 rows; 1 are remembered: they gave no row, or a quarantined one"
    )
    assert (
        "remembered"
        not in outlook(IncrementalCounts(total=1, new=0, present=1, remembered=0, null_key=0)).text
    )
