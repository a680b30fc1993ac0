"""Jobs: sent under an id of ours, waited for, resolved when an answer is lost, and accounted for.

An id is sent again only while it is not known that the service has it: the second time it answers 409, and the job runs
once. A job that ended with an error is not sent again here; only a landing that the service rolled back for another's
sake is, by its writer and under a new id. What nobody could tell is noted, and asked before the next job of the same
job run is sent: so two landings never run at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa
from google.api_core import exceptions as google_errors
from google.cloud import bigquery

from runner.errors import WarehouseError
from runner.ports import QueryUsage, Statement
from runner.statement_log import Sending
from runner.warehouses.bigquery.faults import (
    DRIVER_ERRORS,
    ENGINE,
    is_unanswered,
    may_pass,
    translate,
)
from runner.warehouses.bigquery.names import JobNames
from runner.warehouses.bigquery.parameters import parameters
from runner.warehouses.bigquery.service import NO_RETRY, TRIES, Service
from runner.warehouses.bigquery.stopping import Stop

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between two looks at a job: at first so few that a small query is not slowed."""
DONE = "DONE"
TIB = 2**40
"""Bytes of the unit in which on-demand queries are priced (https://cloud.google.com/bigquery/pricing)."""


J = TypeVar("J", bound=Any)


class Jobs:
    """The jobs of one piece of blocking work, in its thread."""

    def __init__(self, service: Service, names: JobNames, stop: Stop) -> None:
        self.service = service
        self.names = names
        self.stop = stop

    # --- what the adapter sends --------------------------------------------------------------------------

    def query(self, statement: Statement, *, location: str | None = None, **config: Any) -> bigquery.QueryJob:
        """Run a statement or a script to its end and return its job. `config` goes into `QueryJobConfig`. `location`:
        where it runs; None: as the settings say, else where its data is.

        Raises errors of `runner.errors`.
        """
        configured = self._configured(statement, config)

        def send(job_id: str) -> bigquery.QueryJob:
            return self.service.client.query(
                statement.text, job_config=configured, job_id=job_id, job_retry=None, retry=NO_RETRY,
                timeout=self.service.timeout, location=location,
            )  # fmt: skip

        job = self.run(send, statement.text)
        if job.query != statement.text:
            raise WarehouseError(
                ENGINE, f"the job {job.job_id} is of another statement", statement=statement.text
            )
        return job

    def fetch(self, statement: Statement) -> list[tuple[Any, ...]]:
        """Run a query with a small result and return its rows."""
        return [tuple(row.values()) for row in self.table(statement).to_pylist()]

    def table(self, statement: Statement) -> pa.Table:
        """Run a query with a small result and return it."""
        return self.result(self.query(statement))

    def result(self, job: bigquery.QueryJob) -> pa.Table:
        """Return the small result of a query that is done."""

        def download() -> pa.Table:
            rows = job.result(retry=NO_RETRY, job_retry=None, timeout=self.service.timeout)
            return rows.to_arrow(create_bqstorage_client=False)

        return self.asked(download)

    def statement_type(self, statement: Statement) -> str:
        """Return what a statement is (`SELECT`, `INSERT`, `SCRIPT`, …) by a dry run, which is free."""
        config = self._configured(statement, {"dry_run": True, "use_query_cache": False})
        client = self.service.client
        job = self.asked(
            lambda: client.query(
                statement.text,
                job_config=config,
                job_retry=None,
                retry=NO_RETRY,
                timeout=self.service.timeout,
            ),
            statement.text,
        )
        return str(job.statement_type or "")

    def asked(self, request: Callable[[], J], statement: str = "") -> J:
        """Send a request that may be sent twice. Raises errors of `runner.errors`, and `Stopped`."""
        self.stop.check()
        try:
            return self.service.patiently(request, self.stop)
        except DRIVER_ERRORS as error:
            raise translate(error, statement) from error

    # --- any job -------------------------------------------------------------------------------------------

    def run(self, send: Callable[[str], J], statement: str = "") -> J:
        """Send a job under a new id (`send(job_id)` makes one request, without retries of its own), wait until it is
        done, report what it used, and return it. Raises errors of `runner.errors`, and `Stopped`.
        """
        self._settle()
        job_id = self.names.next_id()
        self.stop.check()
        self.stop.watch(job_id)
        with Sending(ENGINE, statement, job_id) as sending:
            job = self._ended(job_id, send, statement)
            sending.rows = getattr(job, "num_dml_affected_rows", None)
            if self.names.scope is not None:
                self.names.scope.report(usage_of(job, self.service.settings.price_per_tib))
            if job.error_result:
                self._raise(job, statement)
        self._learn_location(job)
        return job

    def _ended(self, job_id: str, send: Callable[[str], J], statement: str) -> J:
        """Send a job and wait for its end, good or bad."""
        try:
            job: J = self._sent(job_id, send)
            self.stop.watch(job_id, job.location)
            return self._done(job)
        except DRIVER_ERRORS as error:
            if is_unanswered(error):
                self.service.unknown.setdefault(self.names.owner, set()).add(job_id)
            raise translate(error, statement) from error
        finally:
            self.stop.watch("")

    def _raise(self, job: Any, statement: str) -> None:
        """Raise what a job ended with. Only its times tell a limit of the server's from a cancellation by hand."""
        error, limit = job.exception(), self.service.query_timeout
        lasted = (job.ended - job.created).total_seconds() if job.ended and job.created else 0.0
        at_limit = limit is not None and lasted >= limit
        raise translate(error, statement, limit=limit if at_limit else None) from error

    def _sent(self, job_id: str, send: Callable[[str], J]) -> Any:
        """Send until the service has the job: one budget for the requests that send and those that look for it."""
        failures, looking = 0, False
        while True:
            try:
                known = self._look(job_id) if looking else None
                if known is not None:
                    return known
                looking = False
                self.stop.check()
                return send(job_id)
            except google_errors.Conflict:
                return self._found(job_id)
            except DRIVER_ERRORS as error:
                failures += 1
                looking = looking or is_unanswered(error)
                if failures >= TRIES or not may_pass(error):
                    raise
            self.stop.wait(self.service.backoff.delay(failures))

    def _look(self, job_id: str) -> Any:
        """Return the job if the service has it, else None: then it can be sent again. One request."""
        client, service = self.service.client, self.service
        try:
            return client.get_job(job_id, location=service.location, retry=NO_RETRY, timeout=service.timeout)
        except google_errors.NotFound:
            return None

    def _found(self, job_id: str, location: str | None = None) -> Any:
        """Return a job that the service has, in a location if that is known."""
        client, service = self.service.client, self.service
        return service.patiently(
            lambda: client.get_job(
                job_id, location=location or service.location, retry=NO_RETRY, timeout=service.timeout
            ),
            self.stop,
        )

    def _done(self, job: J) -> J:
        """Look at the job until it is done; when the work is to end, it is being cancelled meanwhile."""
        pause = FIRST_PAUSE
        while job.state != DONE:
            self.stop.wait(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
            job = self._found(job.job_id, job.location)
        return job

    def _settle(self) -> None:
        """Learn what became of jobs that nobody could tell of, and end those that still run."""
        unknown = self.service.unknown.get(self.names.owner)
        for job_id in sorted(unknown or ()):
            try:
                job = self._look(job_id)
                if job is not None and job.state != DONE:
                    self.service.cancel(job_id, job.location)
                    self._done(job)
            except DRIVER_ERRORS as error:
                raise translate(error) from error
            (unknown or set()).discard(job_id)

    def _learn_location(self, job: Any) -> None:
        """Jobs outside of the US and the EU are only found by their location (docs, "Specify locations"): one whose
        answer was lost is looked for where the last one ran. A job that fails tells nothing: a question for what does
        not exist runs in the US.
        """
        if self.service.location is None and job.location:
            self.service.location = job.location

    def _configured(self, statement: Statement, config: dict[str, Any]) -> bigquery.QueryJobConfig:
        settings, timeout = self.service.settings, self.service.query_timeout
        given = {
            "labels": self.names.labels,
            "query_parameters": parameters(statement.values),
            "use_query_cache": settings.query_cache,
            "priority": settings.priority.upper(),
            "maximum_bytes_billed": settings.maximum_bytes_billed,
            "job_timeout_ms": None if timeout is None else max(1, round(timeout * 1000)),
        } | config
        return bigquery.QueryJobConfig(**{name: value for name, value in given.items() if value is not None})


def usage_of(job: Any, price_per_tib: float | None) -> QueryUsage:
    """Return what a job used, as far as the service tells; a load tells nothing, and costs nothing."""
    billed = getattr(job, "total_bytes_billed", None)
    return QueryUsage(
        query_id=job.job_id,
        bytes_processed=getattr(job, "total_bytes_processed", None),
        bytes_billed=billed,
        cost=None if billed is None or price_per_tib is None else billed / TIB * price_per_tib,
        slot_ms=getattr(job, "slot_millis", None),
        cache_hit=getattr(job, "cache_hit", None),
    )
