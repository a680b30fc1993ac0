"""Jobs that read a JSON API: what is new lands once, what is garbage lands nothing, and jobs wait at the same time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from runner.pipeline_runner import PipelineRunner
from runner.records import RunRecord, Status
from tests.projects import ThrowAwayProject, call, job_of, not_exists, write
from tests.servers.http_api import Api, Reply, Request, numbered_pages, serving

SECRET = "s3cret-token-of-an-api"
CURSOR = {"dataset": "raw", "table": "items", "column": "updated_at"}


def http(**arguments: Any) -> dict[str, Any]:
    """Declare an extract from the connection `api`; keys of the step stand in `step`."""
    step = arguments.pop("step", {})
    return {
        "step_id": "pull", "op": "extract", "source": "http", "connection": "api",
        "with": {"path": "items", **arguments}, **step,
    }  # fmt: skip


def declare(project: ThrowAwayProject, *steps: dict[str, Any], job: str = "job") -> None:
    if job == "job":
        project.table("raw.items", "id int64!, name string, updated_at timestamp", key=["id"])
    project.job(job, *steps, write("raw.items"))


def run(project: ThrowAwayProject, api: Api, name: str = "job", **overrides: Any) -> RunRecord:
    return job_of(project.run(name, connections=connections(api), **overrides))


def connections(api: Api) -> dict[str, Any]:
    return {"api": {"base_url": api.url, "token": SECRET}}


def items(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": n, "name": f"n{n}", "updated_at": f"2026-03-{n:02}T10:00:00.5+01:00"} for n in numbers]


def test_each_run_asks_for_what_is_newer(project: ThrowAwayProject) -> None:
    known = items(1, 2, 3)

    def answer(request: Request) -> Reply:
        since = request.query.get("since", "")
        page = int(request.query["page"])
        new = [item for item in known if item["updated_at"][:10] >= since[:10]]
        return Reply({"items": new[2 * page - 2 : 2 * page]})

    declare(
        project,
        http(pagination="page", since_param="since", timestamps=["updated_at"],
             step={"cursor": CURSOR, "incremental": not_exists("raw.items", "id")}),
    )  # fmt: skip
    with serving(answer) as api:
        first = run(project, api)
        second = run(project, api)
        known += items(4)
        third = run(project, api)
        asked = [request.query.get("since") for request in api.requests]

    assert [(job.status, job.rows_read, job.rows_written) for job in (first, second, third)] == [
        (Status.SUCCESS, 3, 3), (Status.SUCCESS, 0, 0), (Status.SUCCESS, 1, 1),
    ]  # fmt: skip
    assert asked[0] is None
    assert asked[3:] == ["2026-03-03T09:00:00.500000Z"] * (len(asked) - 3)
    assert project.rows("SELECT count(*) AS n, max(updated_at)::VARCHAR AS at FROM raw.items") == [
        {"n": 4, "at": "2026-03-04 09:00:00.5+00"}
    ]


GARBAGE = {
    "cut": Reply(b'{"items": [{"id": 3}, {"i', cut=40),
    "not json": Reply(b"<html>busy</html>", headers={"Content-Type": "text/html"}),
    "no list": Reply({"error": "try later"}),
    "not a record": Reply({"items": [{"id": 3}, "x"]}),
    "refused": Reply({"error": "gone"}, status=410),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_a_page_of_garbage_lands_nothing_and_loses_nothing(project: ThrowAwayProject, garbage: Reply) -> None:
    broken = True
    good = numbered_pages(3)

    def answer(request: Request) -> Reply:
        return garbage if broken and request.query["page"] == "2" else good(request)

    declare(project, http(pagination="page", retries=1, max_wait="10ms"))
    with serving(answer) as api:
        failed = run(project, api, batch_rows=1)
        rows = project.rows("SELECT count(*) AS n FROM raw.items")
        broken = False
        completed = run(project, api)

    assert (failed.status, rows) == (Status.FAILURE, [{"n": 0}])
    (error,) = failed.errors
    assert error.message.startswith(f"source http: page 2, {api.url}/items?page=2: ")
    assert error.category == ("unavailable" if garbage.cut else "source")
    assert (completed.status, completed.rows_written) == (Status.SUCCESS, 6)


def test_four_jobs_wait_at_the_same_time(project: ThrowAwayProject) -> None:
    project.table("raw.items", "id int64!, name string, updated_at timestamp", key=["id"])
    names = [f"job_{n}" for n in range(4)]
    for name in names:
        declare(project, http(pagination="page", fields=["id"]), job=name)
    project.pipeline("all", stages=[{"name": "all", "jobs": names}])

    at_once = []
    for workers in (1, 4):
        with serving(numbered_pages(9, wait=0.02)) as api:
            done = project.run("all", connections=connections(api), max_workers=workers)
            at_once.append(api.most_at_once)
            assert (done.status, len(api.requests)) == (Status.SUCCESS, 40)
    assert at_once == [1, 4]


def test_an_api_that_is_down_is_told_as_such_and_tried_again_with_the_step(project: ThrowAwayProject) -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Reply:
        seen.append(request)
        return Reply(status=503) if len(seen) == 1 else Reply({"items": items(1)})

    declare(project, http(retries=0, timestamps=["updated_at"], step={"retries": 1}))
    with serving(answer) as api:
        job = run(project, api)
    assert (job.status, job.rows_written, len(seen)) == (Status.SUCCESS, 1, 2)


def test_a_denied_run_tells_no_secret_in_all_it_leaves(project: ThrowAwayProject) -> None:
    def answer(request: Request) -> Reply:
        return Reply(dict(request.headers), status=401)

    declare(project, http(params={"access_token": "also-s3cret-in-params"}))
    with serving(answer) as api:
        job = run(project, api)
    assert job.errors[0].category == "auth"
    assert "401 Unauthorized" in job.errors[0].message
    left = b"".join(file.read_bytes() for file in project.settings().state_dir.rglob("*") if file.is_file())
    assert api.requests[0].headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET.encode() not in left
    assert b"access_token=***" in left


def test_a_naive_time_is_a_bad_row_with_its_key(project: ThrowAwayProject) -> None:
    declare(project, http(timestamps=["updated_at"]))
    bad = {"id": 7, "name": "x", "updated_at": "2026-03-01 10:00"}
    with serving(lambda _: Reply({"items": [bad]})) as api:
        job = run(project, api)
    assert "id=7" in job.errors[0].message
    assert "updated_at" in job.errors[0].message


def test_rows_go_on_while_pages_come(project: ThrowAwayProject) -> None:
    """A page is not kept until the last one is there: memory is a page and a batch."""
    asked_when_called: list[int] = []
    project.functions("""
        WATCH = []

        def watch(row):
            for tell in WATCH:
                tell()
            return row
    """)
    project.table("raw.items", "id int64!, name string, updated_at timestamp", key=["id"])
    project.job("job", http(pagination="page"), call("watch"), write("raw.items"))
    with serving(numbered_pages(4, rows=10)) as api:
        run(project, api)  # its first run has loaded the module
        asked = len(api.requests)
        project.module().WATCH.append(lambda: asked_when_called.append(len(api.requests) - asked))
        run(project, api, batch_rows=10)
    assert asked_when_called[0] <= 2
    assert asked_when_called == sorted(asked_when_called)


SLOW = {"in an answer": Reply(wait=30), "in a body": Reply(b"[]", hang=30), "in a wait": Reply(status=429)}


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW)
def test_a_cancelled_run_ends_at_once_and_the_next_completes(project: ThrowAwayProject, slow: Reply) -> None:
    stuck = Reply(slow.body, slow.status, {"Retry-After": "30"}, wait=slow.wait, hang=slow.hang)
    replies: dict[bool, Callable[[Request], Reply]] = {True: lambda _: stuck, False: numbered_pages(1)}
    is_stuck = True
    declare(project, http())

    async def cancelled(settings: Any, api: Api) -> float:
        async with PipelineRunner.open(settings) as pipelines:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(pipelines.run, "job")
                    with anyio.fail_after(10):
                        while not api.requests:  # noqa: ASYNC110 - the server is a thread
                            await anyio.sleep(0.005)
                    begun = anyio.current_time()
                    scope.cancel()
        return anyio.current_time() - begun

    with serving(lambda request: replies[is_stuck](request)) as api:
        settings = project.settings(connections=connections(api))
        assert anyio.run(cancelled, settings, api) < 0.5
        is_stuck = False
        assert run(project, api).rows_written == 2


def test_json_columns_hold_what_nests(project: ThrowAwayProject) -> None:
    project.table("raw.deep", "id int64!, price numeric, extra json", key=["id"])
    project.job("deep", http(floats="decimal"), write("raw.deep"))
    body = b'{"items": [{"id": 1, "price": 12.30, "extra": {"ratio": 0.5, "tags": ["a"]}}]}'
    with serving(lambda _: Reply(body)) as api:
        assert run(project, api, "deep").status is Status.SUCCESS
    (row,) = project.rows("SELECT price::VARCHAR AS price, extra::VARCHAR AS extra FROM raw.deep")
    assert (row["price"], json.loads(row["extra"])) == ("12.300000000", {"ratio": 0.5, "tags": ["a"]})
