"""Queues in a real run: who goes first, and the wait that stands in the record."""

from __future__ import annotations

from runner.events import JobStarted
from tests.projects import ThrowAwayProject, extract

FUNCTIONS = """
    import anyio

    async def rows():
        await anyio.sleep(0.05)
        return
        yield {}
"""


def test_priority_decides_within_a_queue_and_the_record_holds_the_wait(project: ThrowAwayProject) -> None:
    project.functions(FUNCTIONS)
    priorities = {"low": -5, "first": 0, "second": 0, "high": 100}
    for name, priority in priorities.items():
        project.job(name, extract("rows"), queue="narrow", priority=priority)
    project.job("other", extract("rows"))
    project.pipeline("all", max_workers=5, stages=[{"name": "s", "jobs": [*priorities, "other"]}])
    started: list[str] = []

    run = project.run(
        "all",
        on_event=lambda event: started.append(event.job_id) if isinstance(event, JobStarted) else None,
        queues={"narrow": 1},
    )

    assert [job for job in started if job != "other"] == ["high", "first", "second", "low"]
    records = {job.job_id: job for job in run.jobs}
    assert records["other"].queue_ms < records["first"].queue_ms, (
        "who is in another queue waits for none of them"
    )
    waited = 0.0
    for name in ("high", "first", "second", "low"):
        assert records[name].queue_ms >= waited
        waited += records[name].duration_ms
