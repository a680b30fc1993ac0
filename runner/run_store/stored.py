"""Reads one run, living or over."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from runner.clock import utc_now
from runner.errors import DamagedRecord, RunNotFound
from runner.events import Event, UnknownEvent, from_dict
from runner.files import Folder, is_locked, read_all
from runner.fold import fold_run
from runner.jsonl import DamagedLine, decode_line, decode_lines, dumps
from runner.logs import get_logger
from runner.records import ErrorInfo, PipelineRun, Status
from runner.run_store.layout import (
    EVENTS,
    SUMMARY,
    decode_summary,
    has_head,
    id_of,
    name_of,
    tells_other_status,
    time_of,
)

_HEAD_BYTES = 8192
"""Read at first of a summary for a list; its head is longer only when the run itself has many errors."""

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoredEvents:
    """The events of one run as its file has them, and how many torn lines (0 or 1) a crash left behind."""

    events: tuple[Event, ...]
    torn: int = 0


class StoredRun:
    """One run's folder, for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_id = id_of(path)

    def run(self) -> PipelineRun:
        """The run with its jobs."""
        summary = self._summary(whole=True)
        return summary if summary and summary.status is not Status.RUNNING else self._rebuilt()

    def listed(self, status: Status | None = None) -> PipelineRun | None:
        """The run without its jobs, from the head of its summary if it has ended; None if it has not this status."""
        content = self._content(whole=False)
        if content and status and tells_other_status(content, status):
            return None  # seen without reading the rest: of ten thousand runs, a few are asked for
        summary = self._decoded(content, whole=False)
        run = summary if summary and summary.status is not Status.RUNNING else self._rebuilt().without_jobs()
        return run if status is None or run.status is status else None

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

    def may_have(self, words: Collection[str]) -> bool:
        """Whether one of `words` stands in the file as a value; it may be that of another member."""
        content = self._lines()
        return any(dumps(word).encode("ascii") in content for word in words)

    def events(self) -> StoredEvents:
        """The events, in file order."""
        content = self._lines()
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

    def _lines(self) -> bytes:
        """The event file; empty where there is none."""
        try:
            with Folder(self.path) as folder:
                return folder.read(EVENTS)
        except FileNotFoundError:
            return b""

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
            name=name_of(self.path),
            started_at=time_of(self.run_id),
            alive=alive,
        ).until(utc_now())

    def _summary(self, *, whole: bool) -> PipelineRun | None:
        return self._decoded(self._content(whole=whole), whole=whole)

    def _content(self, *, whole: bool) -> bytes | None:
        """`run.json`, or at least its head; None when there is none."""
        try:
            with Folder(self.path) as folder:
                fd = folder.open(SUMMARY, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            content = read_all(fd, None if whole else _HEAD_BYTES)
            if not whole and not has_head(content):
                content += read_all(fd)
        finally:
            os.close(fd)
        return content

    def _decoded(self, content: bytes | None, *, whole: bool) -> PipelineRun | None:
        """What `run.json` says; None when there is none, or none that can be read: it is only a copy."""
        try:
            return decode_summary(content, jobs=whole) if content is not None else None
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            logger.warning("%s cannot be read (%r): the run is rebuilt", self.path / SUMMARY, error)
            return None


def listed(path: Path, status: Status | None = None) -> PipelineRun | None:
    """A run for a list: None if it has not begun or not this status, and a stand-in that says why if it cannot be
    read.
    """
    run = _or_stand_in(path, lambda stored: stored.listed(status))
    return run if run is None or status is None or run.status is status else None


def whole(path: Path) -> PipelineRun | None:
    """The same with its jobs."""
    return _or_stand_in(path, StoredRun.run)


def _or_stand_in(path: Path, read: Callable[[StoredRun], PipelineRun | None]) -> PipelineRun | None:
    try:
        return read(StoredRun(path))
    except RunNotFound:
        return None
    except (DamagedRecord, OSError) as error:
        return PipelineRun(
            pipeline_run_id=id_of(path),
            pipeline_id=name_of(path),
            status=Status.CRASHED,
            started_at=time_of(id_of(path)),
            errors=(ErrorInfo(category="damaged", message=str(error), type=type(error).__name__),),
        )
