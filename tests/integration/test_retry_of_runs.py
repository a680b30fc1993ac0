"""`PipelineRunner.retry`: which jobs are owed, in which order they run, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from runner.errors import RunNotFound, UsageError
from runner.events import JobStarted
from runner.pipeline_runner import PipelineRunner
from runner.ports import Release
from runner.records import PipelineRun, Status
from tests.projects import FAST, ThrowAwayProject, call, extract, not_exists, read, write

AS_OF = datetime(2026, 2, 12, 6, tzinfo=UTC)

FUNCTIONS = """
    from pathlib import Path

    def rows(*, folder: str, name: str, as_of=None, word: str = ""):
        told = Path(folder, name).read_text() if Path(folder, name).exists() else "a=1"
        if told == "fail":
            raise RuntimeError(f"{name} failed at {as_of:%Y-%m-%d} with {word!r}")
        for pair in told.split():
            key, _, value = pair.partition("=")
            yield {"id": f"{name}:{key}", "value": int(value) if value.isdigit() else value}
"""


class Shop:
    """A project whose jobs do what the files of a folder tell them."""

    def __init__(self, project: ThrowAwayProject) -> None:
        self.project = project
        project.table("shop.items", "id string!, value int64", key=["id"])
        project.functions(FUNCTIONS)

    def jobs(self, *names: str, **options: Any) -> None:
        """Declare jobs."""
        for name in names:
            arguments = {"folder": str(self.project.root), "name": name, "word": {"param": "word"}}
            self.project.job(
                name,
                extract("rows", arguments=arguments),
                write("shop.items", **options),
                params={"word": {"default": "none"}},
            )

    def tell(self, name: str, what: str) -> None:
        """Say what a job does from now on: fail, or bring rows."""
        (self.project.root / name).write_text(what, encoding="utf-8")

    def retry(
        self, reference: str = "last", *, order: list[str] | None = None, **options: Any
    ) -> PipelineRun | None:
        """Retry a run; `order` gets the jobs as they start. `settings` in `options` are overrides."""
        settings = self.project.settings(**{"retries": FAST, **options.pop("settings", {})})

        def note(event: object) -> None:
            if order is not None and isinstance(event, JobStarted):
                order.append(event.job_id)

        async def execute() -> PipelineRun | None:
            async with PipelineRunner.open(settings) as pipelines:
                return await pipelines.retry(reference, on_event=note, **options)

        return anyio.run(execute)


@pytest.fixture
def shop(project: ThrowAwayProject) -> Shop:
    """A shop without jobs yet."""
    return Shop(project)


def ids(run: PipelineRun | None) -> Mapping[str, str]:
    """Return status by job id."""
    assert run is not None
    return {job.job_id: job.status.value for job in run.jobs}


def test_failed_and_skipped_jobs_run_in_the_order_of_their_pipeline(shop: Shop) -> None:
    """The last stage comes after the first also where the one between them is done."""
    shop.jobs("one", "two", "three", "four", "five")
    shop.project.pipeline(
        "all",
        max_workers=4,
        jobs={
            "one": {},
            "two": {"after": ["one"]},
            "three": {"after": ["two"]},
            "four": {"needs": ["three"]},
            "five": {"needs": ["one"]},
        },
    )
    for name in ("one", "three"):
        shop.tell(name, "fail")
    first = shop.project.run("all")
    assert ids(first) == {
        "one": "failure", "two": "success", "five": "skipped", "three": "failure", "four": "skipped",
    }  # fmt: skip
    for name in ("one", "three"):
        shop.tell(name, "a=2")
    order: list[str] = []
    second = shop.retry(order=order)
    assert ids(second) == dict.fromkeys(["one", "five", "three", "four"], "success")
    assert order[0] == "one"
    assert order.index("three") < order.index("four")
    assert shop.retry() is None
    assert shop.retry(first.pipeline_run_id[:20]) is not None, "an older run can be retried again"


def test_what_needs_a_job_that_fails_again_is_skipped_again(shop: Shop) -> None:
    shop.jobs("one", "two", "three")
    shop.project.pipeline("all", jobs={"one": {}, "two": {"needs": ["one"]}, "three": {}})
    shop.tell("one", "fail")
    shop.project.run("all")
    assert ids(shop.retry()) == {"one": "failure", "two": "skipped"}


def test_rows_in_quarantine_are_not_owed_and_a_later_commit_that_failed_is(shop: Shop) -> None:
    shop.jobs("kept", on_bad_row="quarantine")
    shop.jobs("torn", commit_every=1)
    shop.project.pipeline("all", jobs={"kept": {}, "torn": {}})
    shop.tell("kept", "a=1 b=many")
    shop.tell("torn", "a=1 b=many")
    first = shop.project.run("all", batch_rows=1)
    assert ids(first) == {"kept": "partial", "torn": "partial"}
    shop.tell("torn", "a=1 b=2")
    assert ids(shop.retry()) == {"torn": "success"}


def test_a_cancelled_run_owes_what_it_did_not_do(shop: Shop) -> None:
    shop.jobs("one", "two")
    shop.project.pipeline("all", jobs={"one": {}, "two": {"after": ["one"]}})

    async def cancelled() -> None:
        async with PipelineRunner.open(shop.project.settings()) as pipelines:
            with anyio.CancelScope() as scope:
                await pipelines.run("all", on_event=lambda event: _cancel_at(scope, event))

    anyio.run(cancelled)
    assert ids(shop.retry()) == {"two": "success"}


def _cancel_at(scope: anyio.CancelScope, event: object) -> None:
    if isinstance(event, JobStarted) and event.job_id == "two":
        scope.cancel()


def test_parameters_and_time_are_those_of_the_run(shop: Shop) -> None:
    shop.jobs("one")
    shop.tell("one", "fail")

    async def first() -> PipelineRun:
        async with PipelineRunner.open(shop.project.settings()) as pipelines:
            return await pipelines.run("one", params={"word": "seven"}, as_of=AS_OF)

    ran = anyio.run(first)
    again, other = shop.retry(), shop.retry(params={"word": "nine"})
    assert again is not None
    assert other is not None
    for run, word, retry_of in ((ran, "seven", None), (again, "seven", ran), (other, "nine", again)):
        assert (run.params, run.as_of) == ({"word": word}, AS_OF)
        assert run.jobs[0].errors[0].message.find(f"failed at 2026-02-12 with '{word}'") > 0
        assert run.retry_of == (retry_of.pipeline_run_id if retry_of else None)
        assert stored(shop, run.pipeline_run_id) == run


def stored(shop: Shop, run_id: str) -> PipelineRun:
    """Return the run as its files tell it, folded from its events."""
    from runner.fold import fold_run
    from runner.run_store import FileRunStore

    store = FileRunStore(shop.project.settings().runs_dir)
    folded = fold_run(store.events(run_id), run_id=run_id)
    assert folded == store.load(run_id)
    return folded


def test_a_parameter_that_holds_a_secret_is_not_recorded_and_asked_for(shop: Shop) -> None:
    secret = "Zfq8-Kellerassel"
    connections = {"mail": {"password": secret}}
    settings = {"connections": connections}
    shop.jobs("one")
    shop.tell("one", "fail")
    first = shop.project.run("one", params={"word": secret}, connections=connections)
    assert first.params == {"word": "***"}
    files = [path for path in shop.project.settings().runs_dir.rglob("*") if path.is_file()]
    assert files
    assert not any(secret in path.read_text() for path in files)
    logged = shop.project.rows("SELECT payload::VARCHAR AS payload FROM ops.event_log")
    assert not any(secret in str(row["payload"]) for row in logged)
    with pytest.raises(UsageError, match=r"was given word, which is not recorded.*--set word=…"):
        shop.retry(settings=settings)
    again = shop.retry(params={"word": secret}, settings=settings)
    assert again is not None
    assert again.params == {"word": "***"}


def test_jobs_that_are_gone_are_named(shop: Shop) -> None:
    shop.jobs("one", "two")
    shop.project.pipeline("all", jobs={"one": {}, "two": {}})
    shop.tell("one", "fail")
    shop.project.run("all")
    shop.project.pipeline("all", jobs={"two": {}})
    with pytest.raises(UsageError, match="owes 'one', which 'all' no longer has"):
        shop.retry()


def test_a_rescore_is_not_made_up_for_by_an_ordinary_run(shop: Shop) -> None:
    shop.project.table("shop.copies", "id string!, value int64", key=["id"])
    shop.project.functions(FUNCTIONS + "\n    def fail(row):\n        raise RuntimeError('away')\n")
    shop.project.fill("shop.items", [{"id": "a", "value": 1}])
    shop.project.fill("shop.copies", [{"id": "a", "value": 1}])
    shop.project.job(
        "copy",
        read("shop.items", incremental=not_exists("shop.copies", "id")),
        call("fail"),
        write("shop.copies"),
    )
    run = shop.project.run("copy", releases={"copy": Release()})
    assert (run.status, run.rescore) == (Status.FAILURE, True)
    with pytest.raises(UsageError, match="was a rescore of copy"):
        shop.retry()


def test_there_must_be_a_run(shop: Shop) -> None:
    shop.jobs("one")
    with pytest.raises(RunNotFound):
        shop.retry()
