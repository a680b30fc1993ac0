"""Who is told of the statements of a run: its listener, in any task and thread of it, and nobody outside."""

from __future__ import annotations

import anyio
import anyio.to_thread
import pytest

from runner.statement_log import (
    SentStatement,
    is_anyone_listening,
    log_statement,
    sent_for_job,
    sent_for_step,
    told_to,
)


def send(text: str) -> None:
    log_statement("duckdb", text, duration_ms=1.5, rows=2, query_id="q")


def test_a_listener_hears_what_is_sent_inside_and_for_which_step() -> None:
    heard: list[SentStatement] = []
    with told_to(heard.append):
        assert is_anyone_listening("duckdb")
        with sent_for_step("read"):
            send("SELECT 1")
        send("COMMIT")
    assert not is_anyone_listening("duckdb")
    send("SELECT 2")

    assert heard == [
        SentStatement("duckdb", "SELECT 1", 1.5, 2, "q", "", "read"),
        SentStatement("duckdb", "COMMIT", 1.5, 2, "q", "", ""),
    ]


@pytest.mark.asyncio
async def test_tasks_and_threads_of_two_runs_are_told_apart() -> None:
    heard: dict[str, list[tuple[str, str, str]]] = {"one": [], "other": []}

    async def job(job_id: str) -> None:
        sent_for_job(job_id)
        for _ in range(20):
            with sent_for_step(f"{job_id}.step"):
                await anyio.to_thread.run_sync(send, f"SELECT {job_id}")

    async def run(name: str) -> None:
        def listen(statement: SentStatement) -> None:
            heard[name].append((statement.job_id, statement.step_id, statement.text))

        with told_to(listen):
            async with anyio.create_task_group() as jobs:
                for number in range(3):
                    jobs.start_soon(job, f"{name}_{number}")

    async with anyio.create_task_group() as runs:
        for name in heard:
            runs.start_soon(run, name)

    for name, statements in heard.items():
        jobs = [f"{name}_{number}" for number in range(3)]
        assert sorted(statements) == sorted((job, f"{job}.step", f"SELECT {job}") for job in jobs * 20)
