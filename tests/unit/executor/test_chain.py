"""One batch at a time through the steps, to every consumer, and never further than asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from runner.executor.chain import parents
from runner.ports import Batch, StepContext
from runner.records import Status
from runner.specs import JobSpec
from tests.unit.executor.fake_jobs import (
    Flow,
    Scripted,
    call_step,
    extract_step,
    give,
    numbered,
    pass_on,
    write_step,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run on both."""
    return str(request.param)


def test_a_step_takes_the_rows_of_the_one_before_or_of_its_input() -> None:
    steps = [
        extract_step("a"),
        call_step("b"),
        write_step("c"),
        write_step("d", "other", input="a"),
        extract_step("e"),
        call_step("f"),
    ]
    spec = JobSpec.model_validate({"job_id": "job", "steps": steps})
    assert parents(spec.steps) == {"a": None, "b": "a", "c": "b", "d": "a", "e": None, "f": "e"}


def noting(log: list[str], name: str, flow: Flow) -> Flow:
    """Note what passes, before and after each batch is handed on, and the end."""

    async def noted(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
        try:
            async with aclosing(flow(batch, context)) as rows:
                async for given in rows:
                    log.append(f"{name} gives {[row['n'] for row in given.rows or []]}")
                    yield given
        finally:
            log.append(f"{name} ends")

    return noted


async def test_each_batch_goes_all_the_way_before_the_next_is_pulled() -> None:
    log: list[str] = []
    job = Scripted(
        [extract_step("a"), call_step("b"), write_step("c")],
        {"a": noting(log, "a", give([1], [2])), "b": noting(log, "b", pass_on)},
    )
    assert await job.run() is Status.SUCCESS
    assert log == ["a gives [1]", "b gives [1]", "b ends", "a gives [2]", "b gives [2]", "b ends", "a ends"]


async def test_empty_batches_go_no_further() -> None:
    log: list[str] = []
    job = Scripted(
        [extract_step("a"), call_step("b"), write_step("c")],
        {"a": give([], []), "b": noting(log, "b", pass_on)},
    )
    assert await job.run() is Status.SUCCESS
    assert log == []
    assert [timing.status.value for timing in job.record.step_timings] == ["success", "skipped", "skipped"]


async def test_two_consumers_get_rows_of_their_own() -> None:
    seen: dict[str, list[dict[str, int]]] = {}

    def changing(name: str) -> Flow:
        async def flow(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
            assert batch.rows is not None
            seen[name] = batch.rows
            for row in batch.rows:
                row["n"] += 1
            yield batch

        return flow

    job = Scripted(
        [
            extract_step("a"),
            call_step("one"),
            write_step("w1"),
            call_step("two", input="a"),
            write_step("w2", "others"),
        ],
        {"a": give([1, 2]), "one": changing("one"), "two": changing("two")},
    )
    assert await job.run() is Status.SUCCESS
    assert seen == {"one": [{"n": 2}, {"n": 3}], "two": [{"n": 2}, {"n": 3}]}
    assert seen["one"][0] is not seen["two"][0]


async def test_what_is_inside_of_the_rows_of_two_consumers_is_their_own_too() -> None:
    seen: list[object] = []

    async def nested(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
        yield Batch(1, rows=[{"n": 1, "lines": [{"parts": [1, 2]}]}])

    async def popping(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
        assert batch.rows is not None
        batch.rows[0]["lines"][0]["parts"].pop()
        seen.append(batch.rows[0]["lines"])
        yield batch

    job = Scripted(
        [
            extract_step("a"),
            call_step("one"),
            write_step("w1"),
            call_step("two", input="a"),
            write_step("w2", "others"),
        ],
        {"a": nested, "one": popping, "two": popping},
    )
    assert await job.run() is Status.SUCCESS
    assert seen == [[{"parts": [1]}], [{"parts": [1]}]]


async def test_a_step_that_fails_ends_those_above_and_is_named() -> None:
    log: list[str] = []

    async def fail(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
        yield numbered([0])
        raise RuntimeError("broken")

    job = Scripted(
        [extract_step("a"), call_step("b"), call_step("c"), write_step("d")],
        {"a": noting(log, "a", give([1], [2])), "b": noting(log, "b", pass_on), "c": fail},
    )
    assert await job.run() is Status.FAILURE
    assert log == ["a gives [1]", "b gives [1]", "b ends", "a ends"], "their queries must not stay open"
    assert [timing.status.value for timing in job.record.step_timings] == [
        "success", "success", "failure", "skipped"
    ]  # fmt: skip
    assert [error.step_id for error in job.record.errors] == ["c"]
