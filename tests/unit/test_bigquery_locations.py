"""A job is looked at and cancelled where it runs, also where no `location` is set and earlier ones ran elsewhere."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core import exceptions as google_errors

from runner.ddl import LANDINGS
from runner.errors import ObjectNotFound
from runner.ports import Statement, TableChange
from runner.retry import Backoff
from runner.settings import BigQuerySettings
from runner.warehouses.bigquery.jobs import DONE, Jobs
from runner.warehouses.bigquery.names import JobNames
from runner.warehouses.bigquery.service import Service
from runner.warehouses.bigquery.shapes import apply
from runner.warehouses.bigquery.stopping import Stop


class Region:
    """A service that runs each query where its data is (`places`, by a word of it; US for all others), and knows a job
    only there.
    """

    project = "p"

    def __init__(self, **places: str) -> None:
        self.places = places
        self.jobs: dict[str, Any] = {}
        self.asked_for: list[str | None] = []
        self.cancelled: list[tuple[str, str | None]] = []

    def list_tables(self, dataset: str, **more: Any) -> list[Any]:
        return []

    def query(self, text: str, *, job_id: str, location: str | None, **more: Any) -> Any:
        self.asked_for.append(location)
        place = location or next((place for word, place in self.places.items() if word in text), "US")
        error = google_errors.NotFound("Not found: Dataset p:missing", errors=[{"reason": "notFound"}])
        self.jobs[job_id] = SimpleNamespace(
            job_id=job_id, location=place, state="RUNNING", query=text, ended=None, created=None,
            error_result={"reason": "notFound"} if "missing" in text else None, exception=lambda: error,
        )  # fmt: skip
        return self.jobs[job_id]

    def get_job(self, job_id: str, *, location: str | None, **more: Any) -> Any:
        job = self._at(job_id, location)
        return SimpleNamespace(**{**vars(job), "state": DONE})

    def cancel_job(self, job_id: str, *, location: str | None, **more: Any) -> None:
        self._at(job_id, location)
        self.cancelled.append((job_id, location))

    def _at(self, job_id: str, location: str | None) -> Any:
        job = self.jobs[job_id]
        if job.location != location and not (location is None and job.location in ("US", "EU")):
            raise google_errors.NotFound(f"Not found: Job p:{job_id}", errors=[{"reason": "notFound"}])
        return job


@pytest.fixture
def region() -> Region:
    return Region(lab="EU", far="asia-east1")


@pytest.fixture
def jobs(region: Region) -> Jobs:
    service = Service(BigQuerySettings(kind="bigquery", project="p"), None, Backoff(0.0, 0.0))
    service._client = region  # type: ignore[assignment]
    return Jobs(service, JobNames(None, service.numbers), Stop(service.cancel))


def test_a_question_for_a_dataset_that_is_missing_does_not_hide_the_jobs_of_others(jobs: Jobs) -> None:
    with pytest.raises(ObjectNotFound, match="missing"):
        jobs.query(Statement(text="SELECT 1 FROM missing.x"))  # nobody knows where: it runs in the US
    for text in ("SELECT 1 FROM lab.x", "SELECT 1 FROM far.x", "SELECT 1 FROM lab.y"):
        assert jobs.query(Statement(text=text)).state == DONE


def test_datasets_are_made_where_those_are_that_are_there(jobs: Jobs, region: Region) -> None:
    with pytest.raises(ObjectNotFound, match="missing"):
        jobs.query(Statement(text="SELECT 1 FROM missing.x"))
    jobs.query(Statement(text="SELECT 1 FROM lab.x"))
    apply(jobs, [TableChange(kind="create", table=LANDINGS)])
    assert region.asked_for == [None, None, "EU"]


def test_a_job_is_cancelled_where_it_runs(jobs: Jobs, region: Region) -> None:
    jobs.query(Statement(text="SELECT 1 FROM lab.x"))
    look = region.get_job

    def interrupted(job_id: str, **more: Any) -> Any:
        jobs.stop.interrupt()
        while not region.cancelled:
            time.sleep(0.01)
        return look(job_id, **more)

    region.get_job = interrupted  # type: ignore[method-assign]
    jobs.query(Statement(text="SELECT 1 FROM far.x"))
    jobs.stop.close()
    assert {location for _, location in region.cancelled} == {"asia-east1"}
