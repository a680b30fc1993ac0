"""The run store in files: what runs leave behind, readable while they run, after a crash, and by any tool.

    RUNS/2026-02-12/01KH4SATJ0…-formation/
      events.jsonl      the truth: one line an event (`runner.jsonl`), appended; locked while the run lives
      run.json          PipelineRun; a summary of the events, replaced as a whole at start and end
      jobs/JOB.json     RunRecord; written once, at the end of the job

The folder's day is that of the run's start in UTC. A run exists from its first event on. A run without an
end whose lock is free is `crashed`. Of `events.jsonl` a torn last line is forgiven and counted; any other
damage is a `DamagedRecord`, and every other run stays readable. Nothing here changes what a run has written.

Reading needs neither pydantic nor a warehouse driver.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from runner.errors import DamagedRecord, RunNotFound, UsageError
from runner.events import Event, UnknownEvent, from_dict, to_dict
from runner.files import Folder, follow, is_folder, is_locked, read_all
from runner.fold import fold_run
from runner.ids import is_ulid, ulid_ms
from runner.jsonl import DamagedLine, decode_line, decode_lines, dumps, encode_line
from runner.logs import get_logger
from runner.records import ErrorInfo, PipelineRun, RunRecord, Status

EVENTS = "events.jsonl"
SUMMARY = "run.json"
JOBS = "jobs"

_FAILED = (Status.FAILURE, Status.PARTIAL, Status.CRASHED)
_JOBS_MEMBER = b'\n  "jobs": ['
"""Where the jobs begin in `run.json`: only the top level has this newline and indent. See `_encode_run`."""
_HEAD_BYTES = 8192

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoredEvents:
    """The events of one run as its file has them, and how many torn lines (0 or 1) a crash left behind."""

    events: tuple[Event, ...]
    torn: int = 0


class FileRunStore:
    """Runs below one folder. Holds nothing open; any number of processes may read and write at once."""

    def __init__(self, runs_dir: Path) -> None:
        """Use `runs_dir`, which need not exist before the first `create`."""
        self._root = Path(runs_dir)

    def create(self, run_id: str, name: str, started_at: datetime) -> FileRunWriter:
        """Make the folder of a new run and lock it as alive.

        Raises `ValueError` unless `run_id` is a ULID and `name` can be part of a file name, `FileExistsError`
        when there is such a run, `OSError` when the disk will not have it.
        """
        if not is_ulid(run_id):
            raise ValueError(f"{run_id!r} is not a ULID")
        day = started_at.astimezone(UTC).strftime("%Y-%m-%d")
        with Folder(self._root / day, make=True) as folder:
            return FileRunWriter(folder.folder(f"{run_id}-{name}", make=True))

    def load(self, run_id: str) -> PipelineRun:
        """Return the run: its summary if it has ended, else what its events tell.

        Raises `RunNotFound`, and `DamagedRecord` when neither can be read.
        """
        return _Stored(self._find(run_id)).run()

    def resolve(self, reference: str) -> str:
        """Turn an id, a unique beginning of one, `last` or `last-failed` into a run id.

        `last-failed` is the newest that failed in part or as a whole or crashed (not: was cancelled).
        Raises `RunNotFound`, and `UsageError` that names the runs that an ambiguous beginning fits.
        """
        if reference == "last":
            return self._newest(None)
        if reference == "last-failed":
            return self._newest(_FAILED)
        prefix = reference.upper()
        found = [path for path in self._folders() if prefix and path.name.startswith(prefix)]
        if not found:
            raise RunNotFound(reference, hint="run-pipeline runs lists them")
        if len(found) > 1:
            names = ", ".join(path.name for path in found[:5]) + (", …" if len(found) > 5 else "")
            raise UsageError(f"{reference!r} fits {len(found)} runs: {names}", hint="give more of the id")
        return _id_of(found[0])

    def latest(self, *, limit: int | None = None, name: str | None = None) -> Sequence[PipelineRun]:
        """Return runs without their jobs, newest first, reading no more of them than asked for.

        A run that cannot be read is listed, too: as crashed, with the error of category `damaged`.
        """
        runs: list[PipelineRun] = []
        for path in self._folders():
            if limit is not None and len(runs) >= limit:
                break
            if (name is None or _name_of(path) == name) and (run := _listed(path)) is not None:
                runs.append(run)
        return runs

    def events(self, run_id: str) -> Sequence[Event]:
        """Return the events of a run as they were written. Raises `RunNotFound`, `DamagedRecord`."""
        return self.read_events(run_id).events

    def read_events(self, run_id: str) -> StoredEvents:
        """Return the events of a run, and whether its last line was torn. Raises as `events` does."""
        return _Stored(self._find(run_id)).events()

    def is_alive(self, run_id: str) -> bool:
        """Tell whether the run's writer is open in this or another process. Raises `RunNotFound`."""
        return _Stored(self._find(run_id)).is_alive()

    async def follow(self, run_id: str) -> AsyncIterator[Event]:
        """Yield the events of a run, and go on yielding until the run is over. asyncio only.

        Raises `RunNotFound`, `DamagedRecord`.
        """
        import anyio.to_thread

        stored = _Stored(await anyio.to_thread.run_sync(self._find, run_id))
        number = 0
        async for line in follow(stored.path / EVENTS, lambda: not stored.is_alive()):
            number += 1
            yield stored.event(line, number)

    def path(self, run_id: str) -> Path:
        """Return the folder of a run, for people. Raises `RunNotFound`."""
        return self._find(run_id)

    def _newest(self, statuses: tuple[Status, ...] | None) -> str:
        for path in self._folders():
            run = _listed(path)
            if run is not None and (statuses is None or run.status in statuses):
                return run.pipeline_run_id
        raise RunNotFound(
            "last" if statuses is None else "last-failed",
            hint="nothing has run yet" if statuses is None else "no run has failed",
        )

    def _find(self, run_id: str) -> Path:
        """Return the folder of a run. Its id tells the day, unless the clock was set between the two."""
        if is_ulid(run_id):
            start = f"{run_id}-"
            day = datetime.fromtimestamp(ulid_ms(run_id) / 1000, UTC).strftime("%Y-%m-%d")
            for folder in (day, *_names(self._root)):
                for name in _names(self._root / folder):
                    if name.startswith(start):
                        return self._root / folder / name
        raise RunNotFound(run_id)

    def _folders(self) -> Iterator[Path]:
        """The folders of all runs, newest first."""
        for day in _names(self._root):
            for name in _names(self._root / day):
                if is_ulid(name[:26]) and name[26:27] == "-":
                    yield self._root / day / name


class FileRunWriter:
    """The open folder of one living run. For one thread at a time."""

    def __init__(self, folder: Folder) -> None:
        """Take over the folder of a new run: make and lock its event file. Use `FileRunStore.create`."""
        self.path = folder.path
        self._folder = folder
        self._jobs = folder.folder(JOBS, make=True)
        self._events = folder.append_to(EVENTS)
        self._events.lock()

    def append(self, events: Sequence[Event]) -> None:
        """Write events in one call, so that they survive a kill of the process: all, or on an error none."""
        self._events.append(b"".join([encode_line(to_dict(event)) for event in events]))

    def sync(self) -> None:
        """Wait until what was appended survives a power failure."""
        self._events.sync()

    def write_job(self, record: RunRecord) -> None:
        """Write one job's record. It can be made again from the events, so it is not synced."""
        name, content = f"{record.job_id}.json", dumps(record.to_dict()).encode("ascii") + b"\n"
        try:
            self._jobs.write_new(name, content)
        except FileExistsError:
            self._jobs.replace(name, content)

    def write_run(self, run: PipelineRun) -> None:
        """Write the run's summary in place of the one before."""
        self._folder.replace(SUMMARY, _encode_run(run))

    def close(self) -> None:
        """Release the lock: the run is no longer alive. Closing twice is harmless."""
        self._events.close()
        self._jobs.close()
        self._folder.close()


class _Stored:
    """One run's folder, for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_id = _id_of(path)

    def run(self) -> PipelineRun:
        """The run with its jobs."""
        summary = self._summary(whole=True)
        return summary if summary and summary.status is not Status.RUNNING else self._rebuilt()

    def listed(self) -> PipelineRun:
        """The run without its jobs, from the head of its summary if it has ended."""
        summary = self._summary(whole=False)
        if summary and summary.status is not Status.RUNNING:
            return summary
        return self._rebuilt().without_jobs()

    def is_alive(self) -> bool:
        """Whether someone has the event file open for writing."""
        try:
            with Folder(self.path) as folder:
                fd = folder.open(EVENTS, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            return is_locked(fd)
        finally:
            os.close(fd)

    def events(self) -> StoredEvents:
        """The events, in file order."""
        try:
            with Folder(self.path) as folder:
                content = folder.read(EVENTS)
        except FileNotFoundError:
            return StoredEvents(())
        events: list[Event] = []
        torn = 0
        try:
            for number, data in decode_lines(content):
                if data is None:
                    torn += 1
                else:
                    events.append(self._event(data, number))
        except DamagedLine as error:
            raise self._damaged(error) from error
        return StoredEvents(tuple(events), torn)

    def event(self, line: bytes, number: int) -> Event:
        """One line of the event file as an event."""
        try:
            return self._event(decode_line(line, number), number)
        except DamagedLine as error:
            raise self._damaged(error) from error

    def _event(self, data: dict[str, object], number: int) -> Event:
        try:
            return from_dict(data)
        except (UnknownEvent, LookupError, ValueError, TypeError, AttributeError) as error:
            raise DamagedLine(number, f"not an event of this version: {error!r}") from error

    def _damaged(self, error: DamagedLine) -> DamagedRecord:
        return DamagedRecord(str(self.path / EVENTS), error.line, error.reason)

    def _rebuilt(self) -> PipelineRun:
        """The run as its events tell it. Lock first, then file: a run writes its end before it lets go."""
        alive = self.is_alive()
        stored = self.events()
        if not (alive or stored.events or stored.torn or (self.path / SUMMARY).exists()):
            raise RunNotFound(self.run_id, hint="it was killed before it began, or is about to begin")
        return fold_run(
            stored.events,
            run_id=self.run_id,
            name=_name_of(self.path),
            started_at=_started_at(self.run_id),
            alive=alive,
        )

    def _summary(self, *, whole: bool) -> PipelineRun | None:
        """What `run.json` says; None when there is none, or none that can be read: it is only a copy."""
        file = self.path / SUMMARY
        try:
            fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            content = read_all(fd, None if whole else _HEAD_BYTES)
            if not whole and _JOBS_MEMBER not in content:
                content += read_all(fd)
        finally:
            os.close(fd)
        try:
            return PipelineRun.from_dict(json.loads(content if whole else _head(content)))
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            logger.warning("%s cannot be read (%r); the run is rebuilt from its events", file, error)
            return None


def _listed(path: Path) -> PipelineRun | None:
    """A run for a list: None if it has not begun, and a stand-in that says why if it cannot be read."""
    try:
        return _Stored(path).listed()
    except RunNotFound:
        return None
    except (DamagedRecord, OSError) as error:
        return PipelineRun(
            pipeline_run_id=_id_of(path),
            pipeline_id=_name_of(path),
            status=Status.CRASHED,
            started_at=_started_at(_id_of(path)),
            errors=(ErrorInfo(category="damaged", message=str(error), type=type(error).__name__),),
        )


def _encode_run(run: PipelineRun) -> bytes:
    """Return `run.json`: a member a line, jobs last, a job a line, so that lists need only its head."""
    head = json.dumps(json.loads(dumps(run.to_dict(jobs=False))), indent=2).encode("ascii")
    jobs = b",\n    ".join(dumps(job.to_dict()).encode("ascii") for job in run.jobs)
    return b"%b,%b%b]\n}\n" % (head[: -len("\n}")], _JOBS_MEMBER, b"\n    " + jobs + b"\n  " if jobs else b"")


def _head(content: bytes) -> bytes:
    """Return the part of `run.json` before its jobs as JSON of its own, or all of it if it has none."""
    end = content.find(_JOBS_MEMBER)
    return content if end < 0 else content[:end].rstrip(b",") + b"\n}"


def _names(path: Path) -> list[str]:
    """Names in a folder in descending order; none where there is no folder, and none behind a link."""
    return sorted(os.listdir(path), reverse=True) if is_folder(path) else []


def _id_of(path: Path) -> str:
    return path.name[:26]


def _name_of(path: Path) -> str:
    return path.name[27:]


def _started_at(run_id: str) -> datetime:
    return datetime.fromtimestamp(ulid_ms(run_id) / 1000, UTC)
