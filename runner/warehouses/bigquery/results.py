"""Rows of a finished query as Arrow: page by page over REST, or as a stream over the Storage Read API.

Both are pulled: nothing runs ahead of the consumer but what the network buffers. Over REST each page is a request of
its own, which can be sent again; over the Storage Read API the stream is opened again after the rows that have come.
One stream keeps the order of the rows (docs, "Storage Read API": rows of a stream are in order).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from google.cloud import bigquery

from runner.warehouses.bigquery.faults import DRIVER_ERRORS, may_pass, translate
from runner.warehouses.bigquery.jobs import Jobs
from runner.warehouses.bigquery.service import NO_RETRY, TRIES

PAGE_ROWS = 50_000
"""Rows of one REST page at most; the service ends a page earlier, at about 10 MB (docs, "Paging through results")."""


class Rows:
    """The rows of one finished query. `next` blocks; it is called with the `Jobs` of the call that pulls."""

    def __init__(self, job: bigquery.QueryJob, batch_rows: int) -> None:
        self._job = job
        self._page_rows = min(batch_rows, PAGE_ROWS)
        self._source: _Pages | _Stream | None = None

    def next(self, jobs: Jobs) -> pa.RecordBatch | None:
        """Return the next rows, None after the last. Raises errors of `runner.errors`."""
        if self._source is None:
            pages = _Pages(self._job, self._page_rows)
            pages.open(jobs)
            reader = (
                jobs.service.storage_reader()
                if pages.total >= jobs.service.settings.storage_api_rows
                else None
            )
            self._source = pages if reader is None or pages.is_whole else _Stream(self._job, reader)
        return self._source.next(jobs)

    def close(self) -> None:
        """End the stream, also in the middle. Does not block."""
        if isinstance(self._source, _Stream):
            self._source.close()


class _Pages:
    """Rows over REST."""

    def __init__(self, job: bigquery.QueryJob, page_rows: int) -> None:
        self._job = job
        self._page_rows = page_rows
        self._schema: Any = ()
        self._waiting: list[pa.RecordBatch] = []
        self._taken = 0
        self.total = 0

    @property
    def is_whole(self) -> bool:
        """Whether the first page has all rows."""
        return self._taken >= self.total

    def open(self, jobs: Jobs) -> None:
        """Ask for the first page, which tells the schema and how many rows there are."""
        timeout = jobs.service.timeout

        def first() -> tuple[Any, int, list[pa.RecordBatch]]:
            rows = self._job.result(
                page_size=self._page_rows, retry=NO_RETRY, job_retry=None, timeout=timeout
            )
            page = next(rows.to_arrow_iterable(), None)
            return rows.schema, rows.total_rows or 0, [] if page is None else [page]

        self._schema, self.total, self._waiting = jobs.asked(first)
        self._taken = sum(batch.num_rows for batch in self._waiting)

    def next(self, jobs: Jobs) -> pa.RecordBatch | None:
        """Return the next page."""
        if not self._waiting:
            if self.is_whole:
                return None
            self._waiting = jobs.asked(lambda: self._page(jobs))
            self._taken += sum(batch.num_rows for batch in self._waiting)
        return self._waiting.pop(0)

    def _page(self, jobs: Jobs) -> list[pa.RecordBatch]:
        rows = jobs.service.client.list_rows(
            self._job.destination,
            selected_fields=self._schema,
            start_index=self._taken,
            max_results=self._page_rows,
            retry=NO_RETRY,
            timeout=jobs.service.timeout,
        )
        return list(rows.to_arrow_iterable())


class _Stream:
    """Rows over the Storage Read API."""

    def __init__(self, job: bigquery.QueryJob, reader: Any) -> None:
        self._table = job.destination
        self._reader = reader
        self._name = ""
        self._schema: pa.Schema | None = None
        self._answers: Any = None
        self._taken = 0

    def next(self, jobs: Jobs) -> pa.RecordBatch | None:
        """Return the rows of the next answer."""
        failures = 0
        jobs.stop.also(self.close)
        while True:
            jobs.stop.check()
            try:
                if self._answers is None:
                    self._answers = self._opened(jobs)
                answer = next(self._answers, None)
            except DRIVER_ERRORS as error:
                failures += 1
                self._answers = None
                if failures >= TRIES or not may_pass(error) or jobs.stop.wanted:
                    raise translate(error) from error
            else:
                if answer is None:
                    return None
                batch = self._decoded(answer)
                self._taken += batch.num_rows
                return batch
            jobs.stop.wait(jobs.service.backoff.delay(failures))

    def _opened(self, jobs: Jobs) -> Any:
        """Return the answers from the next row on."""
        service = jobs.service
        if not self._name:
            from google.cloud.bigquery_storage_v1 import types

            session = self._reader.create_read_session(
                parent=f"projects/{service.project}",
                read_session=types.ReadSession(
                    table=self._table.to_bqstorage(), data_format=types.DataFormat.ARROW
                ),
                max_stream_count=1,
                retry=NO_RETRY,
                timeout=service.timeout,
            )
            self._schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
            if not session.streams:
                return iter(())
            self._name = session.streams[0].name
        limit = service.query_timeout
        return iter(
            self._reader.read_rows(read_stream=self._name, offset=self._taken, retry=NO_RETRY, timeout=limit)
        )

    def _decoded(self, answer: Any) -> pa.RecordBatch:
        data = answer.arrow_record_batch.serialized_record_batch
        return pa.ipc.read_record_batch(pa.py_buffer(data), self._schema)

    def close(self) -> None:
        """End the stream on the server."""
        cancel = getattr(self._answers, "cancel", None)
        if cancel is not None:
            cancel()


def sliced(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield a batch in pieces of at most so many rows, without copying."""
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)
