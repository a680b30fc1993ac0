"""Step timings are exclusive: those of a job's steps sum to the job, and say where the time went."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.ports import Batch, StepContext
from tests.unit.executor.fake_jobs import (
    FakeClock,
    Flow,
    Scripted,
    call_step,
    extract_step,
    numbered,
    stage,
    write_step,
)

MILLISECONDS = st.integers(0, 500)


def timed(clock: FakeClock, spent: Counter[str], name: str, delays: Sequence[int], flow: Flow) -> Flow:
    """Let a step take its time before each batch that it gives, and at its end."""

    async def slow(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
        async with aclosing(flow(batch, context)) as rows:
            async for given_batch in rows:
                take(delays[spent.total() % len(delays)])
                yield given_batch
        take(delays[-1])

    def take(milliseconds: int) -> None:
        clock.pass_ms(milliseconds)
        spent[name] += milliseconds

    return slow


def source(batches: int) -> Flow:
    """Give batches of two rows."""

    async def flow(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
        for number in range(batches):
            yield numbered([2 * number, 2 * number + 1])

    return flow


def multiplied(times: int) -> Flow:
    """Give each batch so many times."""

    async def flow(batch: Batch, context: StepContext) -> AsyncGenerator[Batch, None]:
        for _ in range(times):
            yield Batch(batch.length, rows=[dict(row) for row in batch.rows or []])

    return flow


@given(
    batches=st.integers(0, 4),
    calls=st.lists(st.integers(0, 3), max_size=3),
    delays=st.lists(MILLISECONDS, min_size=1, max_size=5),
    forked=st.booleans(),
)
def test_the_steps_sum_to_the_job(batches: int, calls: list[int], delays: list[int], forked: bool) -> None:
    clock, spent = FakeClock(), Counter[str]()
    steps: list[dict[str, Any]] = [extract_step()]
    script = {"source": timed(clock, spent, "source", delays, source(batches))}
    for number, times in enumerate(calls):
        steps.append(call_step(f"call{number}"))
        script[f"call{number}"] = timed(clock, spent, f"call{number}", delays, multiplied(times))
    steps.append(write_step())
    script["write"] = timed(clock, spent, "write", delays, stage)
    if forked:
        steps.append(write_step("second", "others", input="source"))
        script["second"] = timed(clock, spent, "second", delays, stage)
    job = Scripted(steps, script, clock=clock)

    anyio.run(job.run)

    timings = {timing.step_id: timing.duration_ms for timing in job.record.step_timings}
    assert timings == {step["step_id"]: spent[step["step_id"]] for step in steps}
    assert sum(timings.values()) == pytest.approx(job.record.duration_ms)


def test_a_job_that_works_in_its_transform_is_described_so() -> None:
    clock, spent = FakeClock(), Counter[str]()
    script = {
        "source": timed(clock, spent, "source", [20], source(5)),
        "call": timed(clock, spent, "call", [70], multiplied(1)),
        "write": timed(clock, spent, "write", [20], stage),
    }
    job = Scripted([extract_step(), call_step("call"), write_step()], script, clock=clock)

    anyio.run(job.run)

    record = job.record
    shares = {t.step_id: t.duration_ms / record.duration_ms for t in record.step_timings}
    assert shares["call"] == pytest.approx(0.76, abs=0.02)
    assert record.performance_indicators is not None
    assert record.performance_indicators.bottleneck_step == "call"
    assert record.performance_indicators.transform_throughput == pytest.approx(10 / 0.7, abs=0.01)
