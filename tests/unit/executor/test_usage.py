"""What the warehouse reports of its queries: to the step that sent them, over all attempts, from any thread."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import WarehouseUnavailable
from runner.events import StepFinished, from_dict, to_dict
from runner.executor.account import KEPT_IDS, Account
from runner.fold import fold_run
from runner.ports import Batch, QueryScope, QueryUsage, ReadQuery, StepContext
from runner.records import RunRecord, Status
from runner.specs import TableRef
from runner.testing import MemoryWarehouse
from runner.usage import AMOUNTS, summed
from tests.unit.executor.fake_jobs import Scripted, extract_step, give, numbered, write_step

pytestmark = pytest.mark.anyio
READ = {"step_id": "read", "op": "read", "dataset": "lab", "table": "numbers"}
USED = QueryUsage(query_id="", bytes_processed=1_000, bytes_billed=10_000, slot_ms=7, cache_hit=False)


async def read(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
    """Read a table, as a read does, and give numbers."""
    (table,) = (table for ref, table in context.plan.tables.items() if ref == TableRef("lab", "numbers"))
    async with context.warehouse.read(ReadQuery(source=table, columns=("n",))) as batches:
        assert [found.num_rows async for found in batches] == []
    yield numbered([1, 2])


def reading(told: Callable[[str, QueryScope], QueryUsage | None], **more: Any) -> Scripted:
    steps = [READ | {"retries": 2}, write_step(retries=2)]
    return Scripted(steps, {"read": read}, warehouse=MemoryWarehouse(usage=told), **more)


def by_step(record: RunRecord) -> dict[str, Any]:
    return {timing.step_id: timing.warehouse for timing in record.step_timings}


async def test_usage_counts_to_the_step_that_sent_the_query_and_to_the_job() -> None:
    scopes: list[QueryScope] = []

    def told(kind: str, scope: QueryScope) -> QueryUsage:
        scopes.append(scope)
        return replace(USED, query_id=f"{kind}-{scope.step_id}-{scope.attempt}", cache_hit=kind == "read")

    job = reading(told)
    assert await job.run() is Status.SUCCESS

    one = {"queries": 1, "bytes_processed": 1_000, "bytes_billed": 10_000, "slot_ms": 7}
    assert by_step(job.record) == {
        "read": {**one, "cache_hits": 1, "query_ids": ["read-read-1"]},
        "write": {**one, "cache_hits": 0, "query_ids": ["landing-write-1"]},
    }
    both = {"queries": 2, "bytes_processed": 2_000, "bytes_billed": 20_000, "slot_ms": 14, "cache_hits": 1}
    assert job.record.warehouse == both
    names = {(scope.pipeline_id, scope.run_id, scope.job_id, scope.job_run_id) for scope in scopes}
    assert names == {("job", "RUN", "job", job.record.run_id)}


async def test_what_failed_attempts_used_counts_too() -> None:
    def told(kind: str, scope: QueryScope) -> QueryUsage | None:
        return replace(USED, query_id=f"read-{scope.attempt}") if kind == "read" else None

    class Refusing(MemoryWarehouse):
        def __init__(self) -> None:
            super().__init__(usage=told)
            self.refusals = [WarehouseUnavailable("memory", "away")] * 2

    warehouse = Refusing()

    async def refuse(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
        if warehouse.refusals:
            raise warehouse.refusals.pop()
        nothing: list[Batch] = []
        for each in nothing:
            yield each

    job = reading(told)
    job.warehouse, job.script["write"] = warehouse, refuse
    assert await job.run() is Status.SUCCESS

    assert [timing.attempts for timing in job.record.step_timings] == [3, 3]
    used = by_step(job.record)
    assert used["read"]["query_ids"] == ["read-1", "read-2", "read-3"]
    assert used["read"]["bytes_billed"] == 30_000
    assert used["write"] is None


async def test_without_reports_records_say_nothing() -> None:
    job = Scripted([extract_step(), write_step()], {"source": give([1])})
    assert await job.run() is Status.SUCCESS

    assert job.record.warehouse is None
    assert "warehouse" not in job.record.to_dict()
    assert all("warehouse" not in timing.to_dict() for timing in job.record.step_timings)


async def test_a_run_that_crashed_still_tells_what_its_steps_used() -> None:
    job = reading(lambda kind, scope: replace(USED, query_id=kind))
    await job.run()
    written = [to_dict(event) for event in job.events if isinstance(event, StepFinished)]

    run = fold_run([from_dict(event) for event in written], run_id="RUN", alive=False)

    assert run.jobs[0].status is Status.CRASHED
    assert run.warehouse == {
        "queries": 2, "bytes_processed": 2_000, "bytes_billed": 20_000, "slot_ms": 14, "cache_hits": 0,
    }  # fmt: skip


def test_reports_from_many_threads_are_all_counted() -> None:
    account = Account()

    def report(number: int) -> None:
        for item in range(50):
            account.add("step", replace(USED, query_id=f"{number}-{item}"))

    threads = [Thread(target=report, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    used = account.of("step")
    assert used is not None
    assert (used["queries"], used["bytes_billed"]) == (400, 4_000_000)
    assert len(used["query_ids"]) == KEPT_IDS
    assert account.of("another") is None


def test_amounts_that_an_engine_does_not_tell_are_left_out() -> None:
    account = Account()
    account.add("step", QueryUsage(query_id="pid 7"))

    assert account.of("step") == {"queries": 1, "query_ids": ["pid 7"]}
    assert account.total() == {"queries": 1}


PARTS = st.none() | st.dictionaries(st.sampled_from(("queries", *AMOUNTS)), st.integers(0, 10**15))


@given(st.lists(PARTS), st.lists(PARTS))
def test_sums_of_sums_are_sums(one: list[Any], other: list[Any]) -> None:
    assert summed([summed(one), summed(other)]) == summed(one + other)
