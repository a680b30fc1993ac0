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
_RUNS = 100
"""Runs that are known at a time, in an application that goes on for weeks; so many are not under way at once."""


class _Asked:
    """What one run knows of it: the landings by the label of their job, once the first of its jobs has asked."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.landings: dict[str, list[Any]] | None = None


class Leftovers:
    """The landings that ran when a run first asked. Safe in any thread, and holds no lock while it waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, _Asked] = {}

    def wait(self, jobs: Jobs) -> None:
        """Wait for those of the job that `jobs` are of. Blocks; the server is asked once for all jobs of a run. Raises
        `Stopped`, and errors of `runner.errors`.
        """
        if jobs.names.scope is None:
            return
        own = jobs.names.labels
        landings = self._landings(jobs)
        for job in landings.get(own["job"], ()):
            if job.labels.get("run") != own["run"]:
                _log.warning("job %s: waiting for a landing that run %s has left running on the server",
                             jobs.names.scope.job_id, str(job.labels.get("run")).upper())  # fmt: skip
                wait_for(jobs, job)
        landings.pop(own["job"], None)

    def _landings(self, jobs: Jobs) -> dict[str, list[Any]]:
        asked, is_first = self._asked(jobs.names.labels["run"])
        if is_first:
            try:
                asked.landings = _running_landings(jobs)
            finally:
                asked.over.set()
        while not asked.over.wait(_PAUSE):
            jobs.stop.check()
        if asked.landings is None:  # the first got no answer: each asks for itself, none after the other
            asked.landings = _running_landings(jobs)
        return asked.landings

    def _asked(self, run: str) -> tuple[_Asked, bool]:
        """What a run knows, and whether nobody has asked for it yet."""
        with self._lock:
            is_first = run not in self._runs
            asked = self._runs.setdefault(run, _Asked())
            while len(self._runs) > _RUNS:
                self._runs.pop(next(iter(self._runs)))
        return asked, is_first


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


def _running_landings(jobs: Jobs) -> dict[str, list[Any]]:
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
