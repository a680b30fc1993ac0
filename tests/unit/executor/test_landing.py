"""From declarations to a landing, and from its result to what people are told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.executor import incremental_reads, landing_spec
from runner.executor.attempt import did_something
from runner.executor.landing import notices
from runner.ports import KeyMatch, LandingResult, Release, TargetLanding
from runner.specs import JobSpec, PlannedJob, RunPlan, TableRef, TableSpec

STAMP = datetime(2026, 2, 12, 6, tzinfo=UTC)


def planned(*steps: dict[str, Any]) -> tuple[RunPlan, PlannedJob]:
    """Return a plan of one job over src.a, out.a and out.b."""
    columns = [{"name": "id", "type": "string"}, {"name": "made", "type": "timestamp"}]
    tables = [
        TableSpec.model_validate({"dataset": dataset, "table": table, "columns": columns, "key": ["id"]})
        for dataset, table in (("src", "a"), ("out", "a"), ("out", "b"))
    ]
    spec = JobSpec.model_validate({"job_id": "job", "steps": list(steps)})
    job = PlannedJob(spec=spec, group="", file=Path("job.yaml"))
    plan = RunPlan(
        name="job", kind="job", project=Path("/p"), as_of=STAMP, jobs=(job,),
        tables={table.ref: table for table in tables},
    )  # fmt: skip
    return plan, job


def read(step_id: str, target: str) -> dict[str, Any]:
    """Declare an incremental read of src.a against out.TARGET."""
    return {
        "step_id": step_id, "op": "read", "dataset": "src", "table": "a",
        "incremental": {"mode": "not_exists", "target_dataset": "out", "target_table": target,
                        "source_key": "id", "target_key": "id"},
    }  # fmt: skip


def write(step_id: str, table: str, **more: Any) -> dict[str, Any]:
    """Declare a write to out.TABLE."""
    return {"step_id": step_id, "op": "write", "dataset": "out", "table": table, "mode": "upsert", **more}


def test_writes_become_targets_with_their_keys_and_stamps() -> None:
    plan, job = planned(
        read("r", "a"), write("w1", "a", set_on_insert=["made"]), write("w2", "b", key=["made"])
    )
    spec = landing_spec(plan, job, None, job_run_id="JR", run_id="R", stamp=STAMP)

    assert [(t.step_id, t.table.ref.table, t.key, t.given) for t in spec.targets] == [
        ("w1", "a", ("id",), ("id",)),
        ("w2", "b", ("made",), ("id", "made")),
    ]
    assert (spec.job_id, spec.job_run_id, spec.run_id, spec.stamp) == ("job", "JR", "R", STAMP)


@pytest.mark.parametrize(("target", "tracked"), [("a", [("r", 1)]), ("b", [("r", 0)]), ("none", [])])
def test_keys_are_tracked_for_reads_of_what_the_job_writes(
    target: str, tracked: list[tuple[str, int]]
) -> None:
    writes = [write("w1", "b"), write("w2", "a")]
    plan, job = planned(
        read("r", "a" if target == "none" else target), *writes[: 1 if target == "none" else 2]
    )
    spec = landing_spec(plan, job, None, job_run_id="JR", run_id="R", stamp=STAMP)
    assert [(item.read.step_id, item.target) for item in spec.tracking] == tracked


def test_a_release_is_for_reads_and_extracts() -> None:
    extract = {"op": "extract", "function": "m:f"} | {
        key: value for key, value in read("e", "b").items() if key in ("step_id", "incremental")
    }
    plan, job = planned(read("r", "a"), write("w1", "a"), extract, write("w2", "b"))
    release = Release()
    reads = incremental_reads(plan, job, release)
    assert reads["r"].release is release
    assert reads["e"].release is release


def result(**more: Any) -> LandingResult:
    """Return a landing of one target."""
    target = {"staged": 0, "written": 0, "duplicates": 0} | more.pop("target", {})
    landing = TargetLanding(step_id="write", table=TableRef("out", "a"), **target)
    return LandingResult(batch=0, targets=(landing,), **more)


def match(**more: Any) -> KeyMatch:
    """Return a match of the read `r`."""
    figures = {"read": 0, "staged": 0, "matched": 0, "remembered": 0, "null_keys": 0} | more
    return KeyMatch(step_id="r", **figures)


@pytest.mark.parametrize(
    ("landed", "codes"),
    [
        (result(), []),
        (result(matches=(match(read=3, staged=3, matched=3),)), []),
        (result(matches=(match(read=3, staged=2, matched=1),)), []),
        (result(matches=(match(read=3, staged=0, matched=0),)), []),
        (
            result(matches=(match(read=3, staged=3, matched=0),)),
            [("warning", "incremental.ineffective", "r")],
        ),
        (result(matches=(match(null_keys=1),)), [("warning", "incremental.null_keys", "r")]),
        (result(target={"staged": 2, "duplicates": 1}), [("info", "rows.duplicate_keys", "write")]),
        (result(quarantined=1), [("warning", "rows.quarantined", "")]),
    ],
)
def test_what_a_landing_reveals_is_told(landed: LandingResult, codes: list[tuple[str, str, str]]) -> None:
    assert [(level, code, step_id) for level, code, step_id, _, _ in notices(landed)] == codes


@pytest.mark.parametrize(
    ("landed", "expected"),
    [
        (result(), False),
        (result(matches=(match(),)), False),
        (result(target={"staged": 1}), True),
        (result(target={"deleted": 1}), True),
        (result(quarantined=1), True),
        (result(matches=(match(read=1),)), True),
        (result(matches=(match(null_keys=1),)), True),
    ],
)
def test_an_empty_landing_is_none(landed: LandingResult, expected: bool) -> None:
    assert did_something(landed) is expected
