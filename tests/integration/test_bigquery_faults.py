"""What goes wrong between us and BigQuery: rows land once or not at all, the error says why, nothing runs on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import pyarrow as pa
import pytest

from runner.cli.exit_codes import OF_CATEGORY, ExitCode
from runner.errors import (
    AuthenticationFailed,
    CostLimitExceeded,
    ObjectNotFound,
    PermissionDenied,
    QuotaExceeded,
    ResourceExhausted,
    TimeLimitExceeded,
    WarehouseError,
    WarehouseUnavailable,
    WriteConflict,
)
from runner.ports import LandingResult, WriteTarget
from runner.warehouses.bigquery.service import TRIES
from runner.warehouses.bigquery.writer import INLINE_ROWS
from tests.bigquery_lab import open_lab, sent
from tests.servers.bigquery import (
    AnswerFault,
    BigQueryProcess,
    BigQueryProject,
    Die,
    Fault,
    Figures,
    JobFault,
)
from tests.warehouse_lab import EVENTS, Lab, batch_of, landing_of

pytestmark = pytest.mark.asyncio

MANY = INLINE_ROWS + 100
"""So many rows that they come by a load job."""
UPSERT = WriteTarget(step_id="write", table=EVENTS, mode="upsert", key=EVENTS.key)
SENDING: dict[str, Any] = {"method": "POST", "contains": "/jobs?"}
CONCURRENT = "Transaction is aborted due to concurrent update against table p:d.t."
LANDING: dict[str, Any] = {"type": "query", "contains": "COMMIT TRANSACTION"}

PASSING: list[tuple[str, list[Fault], int]] = [
    ("503 twice", [AnswerFault(503, times=2, **SENDING)], 3),
    ("the rate limit once", [AnswerFault(403, "rateLimitExceeded", **SENDING)], 2),
    ("429 once", [AnswerFault(429, "rateLimitExceeded", **SENDING)], 2),
    ("the answer lost after the work", [AnswerFault(503, after=True, **SENDING)], 1),
    ("half of the answer", [AnswerFault(cut=True, **SENDING)], 1),
    (
        "503 while it is looked at",
        [JobFault(delay=0.3, **LANDING), AnswerFault(503, method="GET", contains="/jobs/", times=2)],
        1,
    ),
]
"""Name, faults, and how often the job of the landing is sent."""


@pytest.mark.parametrize(
    ("faults", "times"), [case[1:] for case in PASSING], ids=[case[0] for case in PASSING]
)
async def test_what_passes_is_not_noticed_and_lands_once(
    bigquery_project: BigQueryProject, tmp_path: Path, faults: list[Fault], times: int
) -> None:
    async with open_lab(bigquery_project, tmp_path, EVENTS) as lab:
        await on_server(bigquery_project.fail, *faults)
        result = await land(lab, 3)
        assert await on_server(bigquery_project.met) == [fault.times for fault in faults]
        await on_server(bigquery_project.heal)
        ids = sent(bigquery_project)
        assert (result.targets[0].written, len(ids), len(set(ids))) == (3, times, 1)
        assert await lab.warehouse.count_matching(EVENTS, ()) == 3


async def test_a_landing_that_was_in_the_way_of_another_is_sent_again_under_other_ids(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with open_lab(bigquery_project, tmp_path, EVENTS) as lab:
        await on_server(bigquery_project.fail, JobFault("invalidQuery", CONCURRENT, times=2, **LANDING))
        result = await land(lab, 3)
        ids = sent(bigquery_project)
        assert (result.targets[0].written, len(ids), len(set(ids))) == (3, 3, 3)
        assert await lab.warehouse.count_matching(EVENTS, ()) == 3


async def test_a_landing_of_many_rows_survives_lost_answers_of_the_load_and_of_the_script(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with open_lab(bigquery_project, tmp_path, EVENTS) as lab:
        steps = ("/tables?", "uploadType", "COMMIT TRANSACTION")
        lost = [AnswerFault(503, after=True, method="POST", contains=what) for what in steps]
        await on_server(bigquery_project.fail, *lost)
        result = await land(lab, MANY)
        assert await on_server(bigquery_project.met) == [1, 1, 1]
        assert result.targets[0].written == MANY
        assert len(set(sent(bigquery_project))) == 2
        assert await lab.warehouse.count_matching(EVENTS, ()) == MANY


FATAL: list[tuple[AnswerFault | JobFault, type[WarehouseError], str, ExitCode, str, int]] = [
    (
        AnswerFault(503, times=None, **SENDING),
        WarehouseUnavailable, "unavailable", ExitCode.COULD_NOT_TELL, "injected", TRIES,
    ),
    (
        AnswerFault(403, "rateLimitExceeded", times=None, **SENDING),
        QuotaExceeded, "quota", ExitCode.COULD_NOT_TELL, "a moment later", TRIES,
    ),
    (
        AnswerFault(403, "quotaExceeded", "Quota exceeded: load jobs", times=None, **SENDING),
        QuotaExceeded, "quota", ExitCode.COULD_NOT_TELL, "Quota exceeded: load jobs.*Google Cloud console", 1,
    ),
    (
        AnswerFault(401, "authError", "Invalid Credentials", times=None, **SENDING),
        AuthenticationFailed, "auth", ExitCode.COULD_NOT_TELL, "cannot be refreshed.*credentials_file", 1,
    ),
    (
        AnswerFault(403, "accessDenied", "Access Denied: Project p", times=None, **SENDING),
        PermissionDenied, "auth", ExitCode.COULD_NOT_TELL, "Access Denied.*a right that it does not have", 1,
    ),
    (
        JobFault("accessDenied", "Access Denied: Table p:d.t", **LANDING),
        PermissionDenied, "auth", ExitCode.COULD_NOT_TELL, "Access Denied: Table", 1,
    ),
    (
        JobFault("notFound", "Not found: Table p:lab.events", **LANDING),
        ObjectNotFound, "not_found", ExitCode.USAGE, "Not found: Table.*run-pipeline plan", 1,
    ),
    (
        JobFault("jobRateLimitExceeded", "Job exceeded rate limits", **LANDING),
        QuotaExceeded, "quota", ExitCode.COULD_NOT_TELL, "max_workers, or a queue", 1,
    ),
    (
        JobFault("backendError", "try again", **LANDING),
        WarehouseUnavailable, "unavailable", ExitCode.COULD_NOT_TELL, "try again", 1,
    ),
    (
        JobFault("resourcesExceeded", "Resources exceeded", **LANDING),
        ResourceExhausted, "resource", ExitCode.FAILED, "narrow what the step reads", 1,
    ),
    (
        JobFault("invalidQuery", CONCURRENT, times=None, **LANDING),
        WriteConflict, "conflict", ExitCode.FAILED, "concurrent update", TRIES,
    ),
    (
        JobFault(figures=Figures(20_000_000, 20_971_520), **LANDING),
        CostLimitExceeded, "cost", ExitCode.FAILED, "20,971,520 bytes or more, over its limit of 10,000,000 bytes", 1,
    ),
]  # fmt: skip
"""Fault, and of the error: class, category, exit code of a command that it ends, text; how often the job is sent."""


@pytest.mark.parametrize(
    ("fault", "kind", "category", "code", "text", "times"),
    FATAL,
    ids=[f"{case[2]}: {case[0].reason or 'figures'}" for case in FATAL],
)
async def test_what_does_not_pass_lands_nothing_and_says_why(
    bigquery_project: BigQueryProject,
    tmp_path: Path,
    fault: AnswerFault | JobFault,
    kind: type[WarehouseError],
    category: str,
    code: ExitCode,
    text: str,
    times: int,
) -> None:
    async with open_lab(bigquery_project, tmp_path, EVENTS, maximum_bytes_billed=10_000_000) as lab:
        await on_server(bigquery_project.fail, fault)
        async with lab.warehouse.writer(landing_of(UPSERT)) as writer:
            await writer.stage(0, rows(3))
            with pytest.raises(kind, match=text) as raised:
                await writer.land()
            assert type(raised.value) is kind
            assert (raised.value.category, OF_CATEGORY.get(category, ExitCode.FAILED)) == (category, code)
            assert len(sent(bigquery_project)) == times
            await on_server(bigquery_project.heal)
            assert bigquery_project.running() == []
            assert await lab.warehouse.count_matching(EVENTS, ()) == 0
            assert not await writer.has_landed()
            bigquery_project.forget_requests()
            await writer.land()
        assert len(set(sent(bigquery_project))) == 1
        assert await lab.warehouse.count_matching(EVENTS, ()) == 3


async def test_work_past_its_limit_is_ended_on_the_server_and_can_be_repeated(
    bigquery_project: BigQueryProject, tmp_path: Path
) -> None:
    async with open_lab(bigquery_project, tmp_path, EVENTS, query_timeout=4) as lab:
        await on_server(bigquery_project.fail, JobFault(delay=60, **LANDING))
        async with lab.warehouse.writer(landing_of(UPSERT)) as writer:
            await writer.stage(0, rows(3))
            with pytest.raises(TimeLimitExceeded, match=r"query.*4 s") as raised:
                await writer.land()
            assert (raised.value.category, OF_CATEGORY["timeout"]) == ("timeout", ExitCode.RUN_TIMEOUT)
            assert bigquery_project.running() == []
            await writer.land()
        assert await lab.warehouse.count_matching(EVENTS, ()) == 3


@pytest.mark.parametrize("die", ["before", "after"])
@pytest.mark.parametrize("what", [{"type": "load"}, LANDING], ids=["load", "script"])
async def test_a_server_that_goes_in_the_middle_of_a_landing(
    private_bigquery: Callable[[], BigQueryProcess], tmp_path: Path, what: dict[str, Any], die: Die
) -> None:
    """It comes back, and the writer lands what it still has: once, also if the work had been done."""
    process = await on_server(private_bigquery)
    with process.server.project() as project:
        async with open_lab(project, tmp_path, EVENTS) as lab:
            await on_server(project.fail, JobFault(die=die, **what))
            async with lab.warehouse.writer(landing_of(UPSERT)) as writer:
                await writer.stage(0, rows(MANY))
                with pytest.raises(WarehouseUnavailable) as raised:
                    await writer.land()
                assert raised.value.retryable
                await on_server(process.wait_until_dead)
                await on_server(process.start)
                assert await writer.has_landed() is (what == LANDING and die == "after")
                result = await writer.land()
            assert result.targets[0].staged == MANY
            assert await lab.warehouse.count_matching(EVENTS, ()) == MANY
            assert project.running() == []


def rows(number: int) -> pa.RecordBatch:
    """Return so many rows as a batch."""
    return batch_of(EVENTS, EVENTS.column_names, [(f"e{n}", "x", n, None) for n in range(number)])


async def land(lab: Lab, number: int) -> LandingResult:
    """Land so many rows."""
    return await lab.land(UPSERT, rows(number))


on_server = anyio.to_thread.run_sync
