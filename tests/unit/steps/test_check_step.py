"""`op: check` in jobs: rows pass unchanged, each fault is told with samples, and a failed check lands nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from runner.events import Event, Landed, Noticed
from runner.pipeline_runner import PipelineRunner
from runner.records import PipelineRun, Status
from runner.specs import TableRef
from runner.testing import MemoryWarehouse
from tests.projects import Step, ThrowAwayProject, call, extract, job_of, not_exists, read, step_of, write

FUNCTIONS = """
    import pyarrow as pa

    def source(rows):
        yield from rows

    def none():
        return []

    def batches(rows):
        columns = {"id": pa.string(), "n": pa.int64(), "kind": pa.string()}
        yield pa.RecordBatch.from_pylist(rows, pa.schema(columns))

    def same(row):
        return row

    def doubled(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch
"""
ROWS: list[dict[str, Any]] = [
    {"id": "a", "n": 1, "kind": "old"},
    {"id": "b", "n": None, "kind": "new"},
    {"id": "c", "n": 12, "kind": "odd"},
    {"id": "d", "n": -4, "kind": None},
]


def check(*expect: dict[str, Any], step_id: str = "fit", table: str = "", **more: Any) -> Step:
    """Declare a `check`, of `dataset.table` if one is given."""
    dataset, _, name = table.partition(".")
    place = {"dataset": dataset, "table": name} if table else {}
    return {"step_id": step_id, "op": "check", **place, "expect": list(expect), **more}


@pytest.fixture
def shop(project: ThrowAwayProject) -> ThrowAwayProject:
    """Return a project with two tables and some functions."""
    project.table("lab.src", "id string!, n int64, kind string, at timestamp", key=["id"])
    project.table("lab.out", "id string!, n int64, kind string, at timestamp", key=["id"])
    project.functions(FUNCTIONS)
    return project


def messages(run: PipelineRun) -> list[str]:
    """Return what went wrong in the only job."""
    return [error.message for error in job_of(run).errors]


def notices(events: list[Event]) -> list[Noticed]:
    """Return the notices about checks."""
    return [event for event in events if isinstance(event, Noticed) and event.code == "check.failed"]


FAULTS = [
    ({"not_null": ["id", "n"]}, 'not_null n: 1 of 4 rows, such as {"id": "b", "n": null}'),
    (
        {"accepted": {"column": "kind", "values": ["old", "new"]}},
        'accepted kind old, new: 1 of 4 rows, such as {"id": "c", "kind": "odd"}',
    ),
    (
        {"range": {"column": "n", "min": 0, "max": 10}},
        'range n from 0 to 10: 2 of 4 rows, such as {"id": "c", "n": 12}, {"id": "d", "n": -4}',
    ),
    ({"rows": {"min": 5}}, "rows from 5: there are 4"),
    ({"rows": {"max": 3}}, "rows to 3: there are 4"),
]
SOURCES = {
    "extracted": extract("source", arguments={"rows": ROWS}),
    "arrow": extract("batches", arguments={"rows": ROWS}),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("expectation", "text"), FAULTS, ids=[str(fault[0]) for fault in FAULTS])
def test_each_fault_on_the_stream(
    shop: ThrowAwayProject, source: str, expectation: dict[str, Any], text: str
) -> None:
    shop.job("job", SOURCES[source], check(expectation), write("lab.out"))
    run = shop.run("job")
    assert messages(run) == [f"check fit of the rows on their way: 1 expectation failed\n{text}"]
    (error,) = job_of(run).errors
    assert (error.category, error.type, error.step_id) == ("data", "CheckFailed", "fit")
    assert [timing.status for timing in job_of(run).step_timings] == [
        Status.SUCCESS, Status.FAILURE, Status.SKIPPED,
    ]  # fmt: skip
    assert shop.rows("SELECT * FROM lab.out") == []
    assert shop.rows("SELECT * FROM ops.landings") == []


def test_a_check_after_a_read_and_before_a_call(shop: ThrowAwayProject) -> None:
    shop.fill("lab.src", ROWS)
    shop.job(
        "job", read("lab.src"), check({"not_null": "n"}, {"rows": {"max": 3}}), call("same"), write("lab.out")
    )
    assert messages(shop.run("job")) == [
        (
            "check fit of the rows on their way: 2 expectations failed\n"
            'not_null n: 1 of 4 rows, such as {"id": "b", "n": null}\n'
            "rows to 3: there are 4"
        )
    ]


def test_what_holds_passes_everything_on_unchanged(shop: ThrowAwayProject) -> None:
    shop.fill("lab.src", ROWS)
    holding: list[dict[str, Any]] = [
        {"not_null": "id"},
        {"accepted": {"column": "kind", "values": ["old", "new", "odd"]}},
        {"range": {"column": "n", "min": -4, "max": 12}},
        {"rows": {"min": 4, "max": 4}},
    ]
    shop.job(
        "job",
        read("lab.src"), check(*holding, step_id="first"),
        call("same"), check(*holding, step_id="second"),
        call("doubled"), check(*holding, step_id="third"),
        write("lab.out"),
    )  # fmt: skip
    run = shop.run("job", batch_rows=3)
    assert run.status is Status.SUCCESS
    assert shop.rows("SELECT id, n, kind FROM lab.out ORDER BY id") == ROWS
    for step_id in ("first", "second", "third"):
        timing = step_of(job_of(run), step_id)
        assert (timing.rows_in, timing.rows_out, timing.batches) == (4, 4, 2)


def test_without_rows_only_counting_concludes(shop: ThrowAwayProject) -> None:
    shop.job("quiet", extract("none"), check({"not_null": "id"}, {"rows": {"max": 3}}), write("lab.out"))
    shop.job("quieter", extract("none"), check({"not_null": "id"}), write("lab.out"))
    shop.job("loud", extract("none"), check({"not_null": "id"}, {"rows": {"min": 1}}), write("lab.out"))
    quiet, quieter, loud = (shop.run(name) for name in ("quiet", "quieter", "loud"))
    assert [timing.status.value for timing in job_of(quiet).step_timings] == ["success", "success", "skipped"]
    assert [timing.status.value for timing in job_of(quieter).step_timings] == [
        "success",
        "skipped",
        "skipped",
    ]
    assert messages(loud) == [
        "check fit of the rows on their way: 1 expectation failed\nrows from 1: there are none"
    ]
    assert [timing.status.value for timing in job_of(loud).step_timings] == ["success", "failure", "skipped"]


def test_a_column_that_no_row_has(shop: ThrowAwayProject) -> None:
    shop.job(
        "job",
        extract("source", arguments={"rows": ROWS}),
        check({"range": {"column": "m", "min": 0}}),
        write("lab.out"),
    )
    assert messages(shop.run("job")) == [
        "check fit of the rows on their way: 1 expectation failed\nrange m from 0: none of 4 rows has this column"
    ]


def test_a_warning_lets_the_rows_land(shop: ThrowAwayProject) -> None:
    shop.job(
        "job",
        extract("source", arguments={"rows": ROWS}),
        check({"not_null": "n"}, {"rows": {"min": 4}}, severity="warn"),
        write("lab.out"),
    )
    events: list[Event] = []
    run = shop.run("job", on_event=events.append)
    assert run.status is Status.SUCCESS
    (notice,) = notices(events)
    assert (notice.level, notice.step_id, notice.job_id) == ("warning", "fit", "job")
    assert notice.message == 'the rows on their way: not_null n: 1 of 4 rows, such as {"id": "b", "n": null}'
    assert notice.details == {
        "subject": "the rows on their way",
        "expectation": "not_null n",
        "rows": 4,
        "offending": 1,
        "samples": ['{"id": "b", "n": null}'],
    }
    assert len(shop.rows("SELECT * FROM lab.out")) == 4


def test_one_expectation_of_a_step_may_only_warn(shop: ThrowAwayProject) -> None:
    shop.job(
        "job",
        extract("source", arguments={"rows": ROWS}),
        check({"not_null": "n", "severity": "warn"}, {"rows": {"max": 1}}),
        write("lab.out"),
    )
    events: list[Event] = []
    run = shop.run("job", on_event=events.append)
    assert [notice.message[:37] for notice in notices(events)] == ["the rows on their way: not_null n: 1 "]
    assert messages(run) == [
        "check fit of the rows on their way: 1 expectation failed\nrows to 1: there are 4"
    ]


def test_a_table_that_others_write_is_checked_in_its_turn(shop: ThrowAwayProject) -> None:
    shop.fill("lab.src", [*ROWS, {"id": "e", "n": 5, "kind": "new"}])
    expect: list[dict[str, Any]] = [
        {"rows": {"max": 4}},
        {"unique": "kind"},
        {"fresh": {"column": "at", "within": "36h"}},
    ]
    shop.job("job", check(*expect, table="lab.src"), read("lab.src"), write("lab.out"))
    run = shop.run("job")
    assert messages(run) == [
        (
            "check fit of lab.src: 3 expectations failed\n"
            "rows to 4: there are 5\n"
            'unique kind: 2 of 5 rows, such as {"kind": "new"} in 2 rows\n'
            "fresh at within 36h: there is no time at all"
        )
    ]
    assert [timing.status.value for timing in job_of(run).step_timings] == ["failure", "skipped", "skipped"]


def test_a_table_that_the_job_writes_is_checked_in_its_landing(shop: ThrowAwayProject) -> None:
    shop.fill("lab.src", ROWS)
    shop.fill("lab.out", [{"id": "z", "n": 1, "kind": "old"}])
    shop.job(
        "job",
        read("lab.src", incremental=not_exists("lab.out", "id")),
        call("same", on_bad_row="quarantine"),
        write("lab.out"),
        check({"unique": "n"}, {"not_null": "n"}, table="lab.out"),
        params={},
    )
    run = shop.run("job")
    assert messages(run) == [
        (
            "check fit of lab.out: 2 expectations failed\n"
            'unique n: 2 of 5 rows, such as {"n": 1} in 2 rows\n'
            'not_null n: 1 of 5 rows, such as {"id": "b", "n": null}'
        )
    ]
    record = job_of(run)
    assert record.status is Status.FAILURE
    assert [timing.status.value for timing in record.step_timings] == [
        "success", "success", "skipped", "failure",
    ]  # fmt: skip
    assert record.rows_written == 0
    assert shop.rows("SELECT id FROM lab.out") == [{"id": "z"}]
    for table in ("landings", "quarantine", "processed_keys"):
        assert shop.rows(f"SELECT * FROM ops.{table}") == []
    shop.fill("lab.src", [{"id": "e", "n": 9, "kind": "new"}])
    again = shop.run("job")
    assert (job_of(again).rows_read, len(messages(again))) == (5, 1)


def test_a_warning_about_the_written_table_lands(shop: ThrowAwayProject) -> None:
    shop.fill("lab.src", ROWS)
    shop.job(
        "job", read("lab.src"), write("lab.out"), check({"not_null": "n"}, table="lab.out", severity="warn")
    )
    events: list[Event] = []
    run = shop.run("job", on_event=events.append)
    assert run.status is Status.SUCCESS
    assert [notice.message for notice in notices(events)] == [
        'lab.out: not_null n: 1 of 4 rows, such as {"id": "b", "n": null}'
    ]
    assert [timing.status.value for timing in job_of(run).step_timings] == ["success"] * 3
    assert len(shop.rows("SELECT * FROM lab.out")) == 4


def test_before_its_write_a_table_is_checked_as_it_stands(shop: ThrowAwayProject) -> None:
    shop.job(
        "job",
        check({"rows": {"max": 0}}, table="lab.out"),
        extract("source", arguments={"rows": ROWS}),
        write("lab.out"),
    )
    assert shop.run("job").status is Status.SUCCESS
    assert messages(shop.run("job")) == ["check fit of lab.out: 1 expectation failed\nrows to 0: there are 4"]


def test_fresh_counts_back_from_the_logical_time(shop: ThrowAwayProject) -> None:
    shop.fill("lab.src", [{"id": "a", "at": datetime.now(UTC)}])
    shop.job("job", check({"fresh": {"column": "at", "within": "1h"}}, table="lab.src"))
    run = shop.run("job")
    assert run.status is Status.SUCCESS
    timing = step_of(job_of(run), "fit")
    assert (timing.status, timing.rows_in, timing.rows_out) == (Status.SUCCESS, 0, 0)


def test_parameters_stand_for_values(shop: ThrowAwayProject) -> None:
    shop.job(
        "job",
        extract("source", arguments={"rows": ROWS}),
        check(
            {"accepted": {"column": "kind", "values": ["old", "new", {"param": "kind"}]}},
            {"range": {"column": "n", "min": {"param": "least"}}},
            {"rows": {"min": {"param": "rows"}}},
        ),
        write("lab.out"),
        params={
            "kind": {"type": "string", "default": "odd"},
            "least": {"type": "int64", "default": -4},
            "rows": {"type": "int64", "default": 4},
        },
    )
    assert shop.run("job").status is Status.SUCCESS
    assert messages(shop.run("job", params={"least": "-3", "rows": "7", "kind": "x"}))[0].splitlines()[
        1:
    ] == [
        'accepted kind old, new, x: 1 of 4 rows, such as {"id": "c", "kind": "odd"}',
        'range n from -3: 1 of 4 rows, such as {"id": "d", "n": -4}',
        "rows from 7: there are 4",
    ]


def test_a_check_between_leaves_shapes_and_types_as_they_were(shop: ThrowAwayProject) -> None:
    """Behind a read the declared types are known, and before a write no dictionaries are made."""
    shop.table("lab.docs", "id string!, doc json", key=["id"])
    shop.fill("lab.docs", [{"id": "a", "doc": {"n": 1}}])
    shop.functions("def peek(row):\n    return {'id': row['id'], 'n': row['doc']['n']}\n")
    shop.job(
        "job",
        read("lab.docs"), check({"not_null": "doc"}, step_id="before"), call("peek"),
        check({"not_null": "kind", "severity": "warn"}, {"not_null": "n"}, step_id="after"),
        write("lab.out", set_on_write=["at"]),
    )  # fmt: skip
    run = shop.run("job")
    assert run.status is Status.SUCCESS
    # `kind` is a column here although the function gave none: the rows came in the columns of the table.
    assert [warning.message for warning in job_of(run).warnings] == [
        'the rows on their way: not_null kind: 1 of 1 row, such as {"id": "a", "kind": null}'
    ]
    assert shop.rows("SELECT id, n FROM lab.out") == [{"id": "a", "n": 1}]


def test_what_was_quarantined_or_remembered_is_rolled_back_too(shop: ThrowAwayProject) -> None:
    shop.functions(
        """
        def some(row):
            if row["id"] == "a":
                raise ValueError("not this one")
            return None if row["id"] == "b" else row
        """
    )
    shop.fill("lab.src", ROWS)
    steps = [
        read("lab.src", incremental=not_exists("lab.out", "id")),
        call("some", on_bad_row="quarantine"),
        write("lab.out"),
    ]
    shop.job("job", *steps, check({"range": {"column": "n", "min": 0}}, table="lab.out"))
    for _ in range(2):
        run = shop.run("job")
        assert messages(run) == [
            (
                "check fit of lab.out: 1 expectation failed\n"
                'range n from 0: 1 of 2 rows, such as {"id": "d", "n": -4}'
            )
        ]
        assert (job_of(run).rows_read, job_of(run).rows_quarantined, job_of(run).warnings) == (4, 0, ())
        for table in ("lab.out", "ops.landings", "ops.quarantine", "ops.processed_keys"):
            assert shop.rows(f"SELECT * FROM {table}") == [], table
    shop.job("job", *steps, check({"range": {"column": "n", "min": -9}}, table="lab.out"))
    run = shop.run("job")
    assert (run.status, job_of(run).status, job_of(run).rows_quarantined) == (
        Status.SUCCESS,
        Status.PARTIAL,
        1,
    )
    assert shop.rows("SELECT id FROM lab.out ORDER BY id") == [{"id": "c"}, {"id": "d"}]
    assert len(shop.rows("SELECT * FROM ops.landings")) == 1


def test_the_landing_checks_in_every_run_and_its_time_is_the_check_s(shop: ThrowAwayProject) -> None:
    shop.job("job", extract("none"), write("lab.out"), check({"rows": {"min": 1}}, table="lab.out"))
    run = shop.run("job")
    assert messages(run) == ["check fit of lab.out: 1 expectation failed\nrows from 1: there are none"]
    assert [timing.status.value for timing in job_of(run).step_timings] == ["success", "skipped", "failure"]
    shop.fill("lab.out", ROWS)
    timing = step_of(job_of(shop.run("job")), "fit")
    assert (timing.status, timing.rows_written, timing.duration_ms > 0) == (Status.SUCCESS, None, True)


def test_a_job_in_pieces_warns_about_each_piece(shop: ThrowAwayProject) -> None:
    shop.fill("lab.src", ROWS)
    shop.job(
        "job",
        read("lab.src", order_by="id"),
        check({"not_null": "n"}, severity="warn"),
        write("lab.out", commit_every=1),
    )
    run = shop.run("job", batch_rows=2)
    assert run.status is Status.SUCCESS
    assert [warning.message.partition(": ")[2] for warning in job_of(run).warnings] == [
        'not_null n: 1 of 2 rows, such as {"id": "b", "n": null}'
    ]


def test_a_check_of_a_check_s_rows_and_two_consumers(shop: ThrowAwayProject) -> None:
    shop.table("lab.more", "id string!, n int64, kind string, at timestamp", key=["id"])
    shop.job(
        "job",
        extract("source", arguments={"rows": ROWS}),
        check({"not_null": "id"}, step_id="one"),
        check({"rows": {"min": 4}}, step_id="two"),
        write("lab.out"),
        write("lab.more", step_id="write_more", input="one"),
    )
    assert shop.run("job").status is Status.SUCCESS
    assert len(shop.rows("SELECT * FROM lab.out")) == len(shop.rows("SELECT * FROM lab.more")) == 4


def test_an_expression_that_the_warehouse_refuses_names_the_step(shop: ThrowAwayProject) -> None:
    shop.fill("lab.src", ROWS)
    shop.job("job", check({"expression": "no_such_function(n) > 1"}, table="lab.src"))
    run = shop.run("job")
    (error,) = job_of(run).errors
    assert (error.category, error.step_id) == ("query", "fit")
    assert "no_such_function" in error.message


def test_expressions_run_as_they_are_written(shop: ThrowAwayProject) -> None:
    shop.fill("lab.src", ROWS)
    shop.job(
        "job",
        check({"expression": "n >= 0 OR kind IS NULL -- a guess"}, {"expression": "n < 9"}, table="lab.src"),
    )
    assert messages(shop.run("job")) == [
        (
            "check fit of lab.src: 1 expectation failed\n"
            'expression n < 9: 1 of 4 rows, such as {"id": "c", "n": 12}'
        )
    ]


def test_without_news_the_written_table_is_asked_but_nothing_lands(shop: ThrowAwayProject) -> None:
    shop.fill("lab.out", ROWS)
    shop.job(
        "job",
        extract("none"),
        write("lab.out"),
        check({"not_null": "n", "severity": "warn"}, table="lab.out"),
    )
    events: list[Event] = []
    run = shop.run("job", on_event=events.append)
    assert [notice.message for notice in notices(events)] == [
        'lab.out: not_null n: 1 of 4 rows, such as {"id": "b", "n": null}'
    ]
    assert [timing.status.value for timing in job_of(run).step_timings] == ["success", "skipped", "success"]
    assert not [event for event in events if isinstance(event, Landed)]
    assert shop.rows("SELECT * FROM ops.landings") == []


def test_tables_in_memory_are_checked_alike(shop: ThrowAwayProject) -> None:
    shop.job(
        "job",
        extract("source", arguments={"rows": ROWS}),
        write("lab.out"),
        check({"range": {"column": "n", "min": 0}}, {"expression": "n < 9"}, table="lab.out"),
    )
    warehouse = MemoryWarehouse()
    settings = shop.settings()

    async def execute() -> PipelineRun:
        async with PipelineRunner.open(settings, warehouse=warehouse) as pipelines:
            return await pipelines.run("job")

    assert messages(anyio.run(execute))[0].splitlines()[1:] == [
        'range n from 0: 1 of 4 rows, such as {"id": "d", "n": -4}',
        'expression n < 9: 1 of 4 rows, such as {"id": "c", "n": 12}',
    ]
    assert warehouse.tables[TableRef("lab", "out")].rows == []
