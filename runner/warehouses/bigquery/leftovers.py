"""Landings that go on at the server although their runner was killed.

A landing is one script, and nobody stops it when its client is gone. What it is about to commit, the next run of the
same job would not see, read its source once more and, with `append`, land it a second time. So before a job sends
anything, it waits for the landings that earlier runs of it have left running.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from runner.errors import ObjectNotFound, PermissionDenied
from runner.logs import get_logger
from runner.warehouses.bigquery.jobs import DONE, Jobs
from runner.warehouses.bigquery.service import NO_RETRY

_log = get_logger("warehouses.bigquery")

LABEL = "landing"
"""The label of a landing's script, by which it is found; its value is the number of the landing."""
_PAUSE = 0.1


class Leftovers:
    """The landings that ran when a process first asked, by job. Safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, list[Any]] | None = None

    def wait(self, jobs: Jobs) -> None:
        """Wait for those of the job that `jobs` are of. Blocks; asks the server once for all jobs of a process."""
        if jobs.names.scope is None:
            return
        own = jobs.names.labels
        with self._lock:
            if self._found is None:
                self._found = _landings(jobs)
            left = self._found.get(own["job"])
        for job in left or ():
            if job.labels.get("run") != own["run"]:
                _log.warning("job %s: waiting for a landing that run %s has left running on the server",
                             jobs.names.scope.job_id, str(job.labels.get("run")).upper())  # fmt: skip
                wait_for(jobs, job)
        with self._lock:
            self._found.pop(own["job"], None)


def running(jobs: Jobs) -> list[Any]:
    """Return the jobs of the project that have not ended. Raises `PermissionDenied` to those who may not list them."""
    client, timeout = jobs.service.client, jobs.service.timeout
    return jobs.asked(
        lambda: [
            job
            for state in ("pending", "running")
            for job in client.list_jobs(state_filter=state, retry=NO_RETRY, timeout=timeout)
        ]
    )


def wait_for(jobs: Jobs, job: Any) -> None:
    """Wait until a job is done. It is looked for where it runs: elsewhere it would seem to have gone."""
    service = jobs.service
    look = partial(
        service.client.get_job,
        job.job_id,
        location=job.location or service.location,
        retry=NO_RETRY,
        timeout=service.timeout,
    )
    while True:
        try:
            found = jobs.asked(look)
        except ObjectNotFound:
            return
        if found.state == DONE:
            return
        jobs.stop.check()
        jobs.stop.wait(_PAUSE)


def _landings(jobs: Jobs) -> dict[str, list[Any]]:
    """Return the landings that run, by the label of their job. Who may not list jobs goes on without."""
    try:
        found = running(jobs)
    except PermissionDenied as error:
        _log.debug("what killed runs may have left running cannot be seen: %s", error)
        return {}
    landings: dict[str, list[Any]] = {}
    for job in found:
        labels = getattr(job, "labels", None) or {}
        if labels.get("tool") == jobs.names.labels["tool"] and LABEL in labels:
            landings.setdefault(labels.get("job", ""), []).append(job)
    return landings
