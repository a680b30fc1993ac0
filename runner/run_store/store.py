"""Finds runs below one folder, and makes room for new ones."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path

from runner.analysis.regression import RunTimes, StepKey
from runner.errors import RunNotFound, UsageError, did_you_mean
from runner.events import Event
from runner.files import Folder, follow, is_folder
from runner.ids import is_ulid, ulid_ms
from runner.records import PipelineRun, Status
from runner.run_store.layout import EVENTS, day_of, folder_name, id_of, name_of, time_of
from runner.run_store.removal import is_leftover, remove_leftover, remove_run
from runner.run_store.step_times import step_times
from runner.run_store.stored import StoredEvents, StoredRun, listed, whole
from runner.run_store.writer import FileRunWriter

_FAILED = (Status.FAILURE, Status.PARTIAL, Status.CRASHED)


class FileRunStore:
    """Runs below one folder. Holds nothing open; any number of processes may read and write at once.

    Where it has seen a run it looks first: a day may have ten thousand of them, too many to list again for each.
    """

    def __init__(self, runs_dir: Path) -> None:
        """Use `runs_dir`, which need not exist before the first `create`."""
        self._root = Path(runs_dir)
        self._seen: dict[str, Path] = {}

    def create(self, run_id: str, name: str, started_at: datetime) -> FileRunWriter:
        """Make the folder of a new run and lock it as alive.

        Raises `ValueError` unless `run_id` is a ULID and `name` can be part of a file name, `FileExistsError`
        when there is such a run, `OSError` when the disk will not have it.
        """
        if not is_ulid(run_id):
            raise ValueError(f"{run_id!r} is not a ULID")
        with Folder(self._root / day_of(started_at), make=True) as day:
            return FileRunWriter(day.folder(folder_name(run_id, name), make=True))

    def load(self, run_id: str) -> PipelineRun:
        """Return the run: its summary if it has ended, else what its events tell.

        Raises `RunNotFound`, and `DamagedRecord` when neither can be read.
        """
        return StoredRun(self._find(run_id)).run()

    def resolve(self, reference: str) -> str:
        """Turn an id, a unique beginning of one, `last`, `last-failed` or a name into a run id.

        `last-failed` is the newest that failed in part or as a whole or crashed (not: was cancelled). The name of a
        pipeline or job stands for its newest run that has begun.
        Raises `RunNotFound`, and `UsageError` that names the runs that an ambiguous beginning fits.
        """
        if reference == "last":
            return self._newest(None)
        if reference == "last-failed":
            return self._newest(_FAILED)
        folders = list(self._folders())
        if named := [path for path in folders if name_of(path) == reference]:
            return id_of(next((path for path in named if listed(path) is not None), named[0]))
        prefix = reference.upper()
        found = [path for path in folders if prefix and path.name.startswith(prefix)]
        if not found:
            near = did_you_mean(reference, {name_of(path) for path in folders})
            raise RunNotFound(reference, hint=near or "run-pipeline runs lists them")
        if len(found) > 1:
            names = ", ".join(path.name for path in found[:5]) + (", …" if len(found) > 5 else "")
            raise UsageError(f"{reference!r} fits {len(found)} runs: {names}", hint="give more of the id")
        return id_of(found[0])

    def latest(self, *, limit: int | None = None, name: str | None = None) -> Sequence[PipelineRun]:
        """Return runs without their jobs, newest first, reading no more of them than asked for.

        A run that cannot be read is listed, too: as crashed, with the error of category `damaged`.
        """
        return list(islice(self.scan(name=name), limit))

    def scan(
        self,
        *,
        name: str | None = None,
        since: datetime | None = None,
        status: Status | None = None,
        jobs: bool = False,
    ) -> Iterator[PipelineRun]:
        """Yield runs, newest first, each read only when it is asked for; `jobs`: with their jobs.

        `since` (UTC): only runs that were made then or later, by their ids; `status`: only those that have it (not
        together with `jobs`). One that cannot be read is among them, as `latest` says.
        """
        read = whole if jobs else partial(listed, status=status)
        for path in self._folders(since):
            if (name is None or name_of(path) == name) and (run := read(path)) is not None:
                yield run

    def ids(self) -> Iterator[tuple[str, str]]:
        """Yield id and name of all runs, newest first, without reading any of them."""
        for path in self._folders():
            yield id_of(path), name_of(path)

    def by_last_event(self) -> list[tuple[datetime, str]]:
        """Return when (UTC) each run has written events for the last time, and its id, the latest first. Reads none."""
        found = []
        for path in self._folders():
            with suppress(OSError):  # it was removed meanwhile, or has not begun
                written = os.lstat(path / EVENTS).st_mtime
                found.append((datetime.fromtimestamp(written, UTC), id_of(path)))
        return sorted(found, reverse=True)

    def one(self, run_id: str, *, jobs: bool) -> PipelineRun | None:
        """Return a run as `scan` would yield it; None for one that has not begun, or is gone since it was listed."""
        try:
            return (whole if jobs else listed)(self._find(run_id))
        except RunNotFound:
            return None

    def step_times(
        self, name: str, *, before: str, of: Collection[StepKey] | None = None
    ) -> Iterator[RunTimes]:
        """Yield how long the steps of runs of a name took, newest first, of those made before the run `before` (an id);
        `of`: only these steps.

        Each is read only when it is asked for. Those that have not ended or cannot be read are left out.
        """
        for path in self._folders():
            if name_of(path) == name and id_of(path) < before and (times := step_times(path, of)) is not None:
                yield times

    def events(self, run_id: str) -> Sequence[Event]:
        """Return the events of a run as they were written. Raises `RunNotFound`, `DamagedRecord`."""
        return self.read_events(run_id).events

    def read_events(self, run_id: str) -> StoredEvents:
        """Return the events of a run, and whether its last line was torn. Raises as `events` does."""
        return StoredRun(self._find(run_id)).events()

    def may_have(self, run_id: str, words: Collection[str]) -> bool:
        """Tell whether a run may have events in which one of `words` is a value: seen without decoding them, in a
        twentieth of the time. Raises `RunNotFound`.
        """
        return StoredRun(self._find(run_id)).may_have(words)

    def is_alive(self, run_id: str) -> bool:
        """Tell whether the run's writer is open in this or another process. Raises `RunNotFound`."""
        return StoredRun(self._find(run_id)).is_alive()

    async def follow(self, run_id: str) -> AsyncIterator[Event]:
        """Yield the events of a run, and go on yielding until the run is over. asyncio only.

        Raises `RunNotFound`, `DamagedRecord`.
        """
        import anyio.to_thread

        stored = StoredRun(await anyio.to_thread.run_sync(self._find, run_id))
        number = 0
        async for line in follow(stored.path / EVENTS, lambda: not stored.is_alive()):
            number += 1
            yield stored.event(line, number)

    def path(self, run_id: str) -> Path:
        """Return the folder of a run, for people. Raises `RunNotFound`."""
        return self._find(run_id)

    def remove(self, run_id: str) -> int:
        """Remove a run that is over, as a whole: a kill in between leaves nothing that looks like a run. Return the
        bytes of its files. Raises `RunNotFound`, `HeldByAnother` for a run that is alive, `OSError`.
        """
        return remove_run(self._find(run_id))

    def remove_leftovers(self) -> None:
        """Remove what is left of runs whose removal was interrupted."""
        for day in _names(self._root):
            for name in _names(self._root / day):
                if is_leftover(name):
                    remove_leftover(self._root / day / name)

    def _newest(self, statuses: tuple[Status, ...] | None) -> str:
        for path in self._folders():
            run = listed(path)
            if run is not None and (statuses is None or run.status in statuses):
                return run.pipeline_run_id
        raise RunNotFound(
            "last" if statuses is None else "last-failed",
            hint="nothing has run yet" if statuses is None else "no run has failed",
        )

    def _find(self, run_id: str) -> Path:
        """Return the folder of a run. Its id tells the day, unless the clock was set between the two."""
        seen = self._seen.get(run_id)
        if seen is not None and is_folder(seen):
            return seen
        self._seen.pop(run_id, None)
        if is_ulid(run_id):
            start = folder_name(run_id, "")
            for day in (day_of(time_of(run_id)), *_names(self._root)):
                for name in _names(self._root / day):
                    if name.startswith(start):
                        self._seen[run_id] = self._root / day / name
                        return self._seen[run_id]
        raise RunNotFound(run_id)

    def _folders(self, since: datetime | None = None) -> Iterator[Path]:
        """The folders of all runs, newest first; `since`: of those whose id was made then or later."""
        # Within a day, ids are in the order of time; the day is that of the start, which may be that of the next.
        first_ms = max(0, int(since.timestamp() * 1000)) if since else 0  # no id is older than 1970
        first_day = day_of(since - timedelta(days=1)) if since and first_ms else ""
        for day in _names(self._root):
            if day < first_day:
                return
            for name in _names(self._root / day):
                if is_ulid(name[:26]) and name[26:27] == "-":
                    if since and ulid_ms(name[:26]) < first_ms:
                        break
                    path = self._seen[name[:26]] = self._root / day / name
                    yield path


def _names(path: Path) -> list[str]:
    """Names in a folder in descending order; none where there is no folder (any more), and none behind a link."""
    try:
        return sorted(os.listdir(path), reverse=True) if is_folder(path) else []
    except FileNotFoundError:  # the last run of this day was removed in between
        return []
