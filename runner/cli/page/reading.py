"""Finds in the run store what a page is about. Runs that are over are kept: they do not change."""

from __future__ import annotations

from itertools import dropwhile, islice
from typing import TYPE_CHECKING

from runner.records import PipelineRun, Status

if TYPE_CHECKING:
    from runner.run_store import FileRunStore

LAST = 30
"""So many runs are told of, unless more or fewer are asked for."""
LOOKED_AT = 3_000
"""So many runs are looked at by their names for a list of what there is: what has not run among them is not in it."""
HEADS_KEPT, WHOLES_KEPT = 5_000, 150
"""Runs that are kept without their jobs, about 2 KB each, and with them, of a hundred jobs about 250 KB each."""


class Reading:
    """A run store as pages read it. Used from several threads: what is kept may be read twice, never wrongly."""

    def __init__(self, store: FileRunStore) -> None:
        self._store = store
        self._heads: dict[str, PipelineRun] = {}
        self._wholes: dict[str, PipelineRun] = {}

    def run_id_of(self, reference: str) -> str:
        """Return the id of the run that is meant: by the name of a pipeline or job, also one named `last`, its newest
        that has begun; else as `show` takes it.

        Raises `RunNotFound`, and `UsageError` for the beginning of several ids.
        """
        newest = self._store.latest(limit=1, name=reference)
        return newest[0].pipeline_run_id if newest else self._store.resolve(reference)

    def run(self, run_id: str) -> PipelineRun:
        """Return a run with its jobs. Raises `RunNotFound`, `DamagedRecord`."""
        run = self._wholes.get(run_id) or self._store.load(run_id)
        self._keep(self._wholes, run, WHOLES_KEPT)
        return run

    def before(self, run: PipelineRun, *, last: int = LAST) -> list[PipelineRun]:
        """Return the runs of the same name before one, with it at most `last` in all, oldest first, with their jobs.

        One that cannot be read is a crashed one with the reason.
        """
        older = dropwhile(lambda each: each[0] != run.pipeline_run_id, self._store.ids())
        same = (each for each, name in islice(older, 1, None) if name == run.pipeline_id)
        found = (self._one(each, jobs=True) for each in islice(same, last - 1))
        return [*reversed([each for each in found if each])]

    def latest(self, *, each: int, overall: int) -> tuple[dict[str, list[PipelineRun]], list[PipelineRun]]:
        """Return the last runs of each name, oldest first, in the order of their newest; and the last of all, newest
        first. All without their jobs, and of the newest `LOOKED_AT` runs.
        """
        by_name: dict[str, list[str]] = {}
        newest: list[str] = []
        for run_id, name in islice(self._store.ids(), LOOKED_AT):
            ids = by_name.setdefault(name, [])
            if len(ids) < each:
                ids.append(run_id)
            if len(newest) < overall:
                newest.append(run_id)
        runs = {name: [self._one(run_id) for run_id in reversed(ids)] for name, ids in by_name.items()}
        begun = {name: [run for run in found if run] for name, found in runs.items()}
        latest = (self._one(run_id) for run_id in newest)
        return {name: found for name, found in begun.items() if found}, [run for run in latest if run]

    def _one(self, run_id: str, *, jobs: bool = False) -> PipelineRun | None:
        kept = self._wholes if jobs else self._heads
        if (found := kept.get(run_id)) is not None:
            return found
        run = self._store.one(run_id, jobs=jobs)
        if run is not None:
            self._keep(kept, run, WHOLES_KEPT if jobs else HEADS_KEPT)
        return run

    def _keep(self, kept: dict[str, PipelineRun], run: PipelineRun, most: int) -> None:
        """Keep a run that is over, in the place of those that were kept first where there are many. Not the stand-in
        for one that could not be read: that may pass.
        """
        if run.status is Status.RUNNING or any(error.category == "damaged" for error in run.errors):
            return
        while len(kept) >= most:
            kept.pop(next(iter(kept)), None)
        kept[run.pipeline_run_id] = run
