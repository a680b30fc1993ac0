"""Exchanging a table for one that was made anew, which the service cannot do at once: two renames in one script.

The script runs on the server, whatever becomes of the client. What it leaves when the server itself fails between the
two renames, the next optimize finds, and so does the next run, before it would make the table that it misses. Names
tell how far it has come: a table that is still being filled is never put in the place of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from functools import partial

from runner.errors import ObjectNotFound, PermissionDenied, RunPipelineError
from runner.layouts import backup_ref, backups_among, building_ref, ready_ref
from runner.logs import get_logger
from runner.ports import Statement
from runner.specs import TableRef
from runner.sql import BIGQUERY
from runner.warehouses.bigquery.jobs import Jobs
from runner.warehouses.bigquery.leftovers import running, wait_for
from runner.warehouses.bigquery.service import NO_RETRY

_log = get_logger("warehouses.bigquery")

LABEL = "layout"
FILLING, SWAPPING = "fill", "swap"
_PAGE = 1000
_LABEL_LENGTH = 63


def names_of(jobs: Jobs, dataset: str) -> list[str]:
    """Return the names of a dataset's tables; none for a dataset that is not there. Free of charge."""
    client, timeout = jobs.service.client, jobs.service.timeout
    try:
        return jobs.asked(
            lambda: [
                item.table_id
                for item in client.list_tables(dataset, page_size=_PAGE, retry=NO_RETRY, timeout=timeout)
            ]
        )
    except ObjectNotFound:
        return []


def swap_statement(ref: TableRef, backup: TableRef) -> str:
    """Return the script that puts the new table, once it was compared, in the place of the old one, which is kept."""
    ready = ready_ref(ref, BIGQUERY)
    renames = ((building_ref(ref, BIGQUERY), ready), (ref, backup), (ready, ref))
    return "\n".join(f"{_rename(old, new)};" for old, new in renames)


def finish_statement(ref: TableRef) -> str:
    """Return the statement that brings a swap to its end which stopped between its renames."""
    return _rename(ready_ref(ref, BIGQUERY), ref)


def leftovers(ref: TableRef, names: Iterable[str]) -> list[TableRef]:
    """Return what an optimize that was killed has left beside the table."""
    made = (building_ref(ref, BIGQUERY), ready_ref(ref, BIGQUERY))
    return [one for one in made if one.table in set(names)]


def is_half_done(ref: TableRef, names: Iterable[str]) -> bool:
    """Tell whether a swap has stopped between its renames: the old table has gone, the new one is not there yet."""
    names = set(names)
    ready = ready_ref(ref, BIGQUERY).table
    return ref.table not in names and ready in names and bool(backups_among(names, ref, BIGQUERY))


def swap(jobs: Jobs, ref: TableRef, stamp: datetime) -> None:
    """Exchange the two. To be called where nothing cancels it."""
    try:
        labelled(jobs, swap_statement(ref, backup_ref(ref, stamp, BIGQUERY)), ref, SWAPPING)
    except RunPipelineError:
        if not finish(jobs, [ref]):
            raise


def finish(jobs: Jobs, refs: Iterable[TableRef]) -> list[TableRef]:
    """Bring half-done swaps of these tables to their end; return of which."""
    refs = list(refs)
    names = {dataset: names_of(jobs, dataset) for dataset in sorted({ref.dataset for ref in refs})}
    halves = [ref for ref in refs if is_half_done(ref, names[ref.dataset])]
    for ref in halves:
        settle(jobs, ref)
        if is_half_done(ref, names_of(jobs, ref.dataset)):  # the script may have gone on by itself
            labelled(jobs, finish_statement(ref), ref, SWAPPING)
    return halves


def labelled(jobs: Jobs, text: str, ref: TableRef, what: str) -> None:
    """Run a statement under a label by which the next optimize finds it."""
    jobs.query(
        Statement(text=text),
        labels=jobs.names.labels | {LABEL: what, "table": _label(ref)},
        use_query_cache=None,
        job_timeout_ms=None,
    )


def settle(jobs: Jobs, ref: TableRef) -> None:
    """End what an optimize of this table that was killed has left running; a swap is waited for.

    Who may not list jobs goes on without: at worst a comparison or a rename fails then, and the table stays as it is.
    """
    try:
        found = running(jobs)
    except PermissionDenied as error:
        _log.debug("what a killed optimize may have left running cannot be seen: %s", error)
        return
    for job in found:
        labels = getattr(job, "labels", None) or {}
        if labels.get("table") == _label(ref) and labels.get(LABEL):
            if labels[LABEL] == FILLING:
                jobs.asked(partial(jobs.service.cancel, job.job_id, job.location))
            wait_for(jobs, job)


def _rename(old: TableRef, new: TableRef) -> str:
    return f"ALTER TABLE {BIGQUERY.qualified(old)} RENAME TO {BIGQUERY.quote(new.table)}"


def _label(ref: TableRef) -> str:
    """Return a table's name as a label's value: 63 characters of a-z, 0-9, `_` and `-`."""
    text = f"{ref.dataset}-{ref.table}".lower()
    if len(text) <= _LABEL_LENGTH:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: _LABEL_LENGTH - 9]}-{digest}"
