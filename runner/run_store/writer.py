"""Writes one living run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from runner.events import Event, JobFinished, to_dict
from runner.files import Folder
from runner.jsonl import dumps, encode_line
from runner.records import PipelineRun, RunRecord
from runner.run_store.layout import EVENTS, JOBS, SUMMARY, encode_summary


class FileRunWriter:
    """The open folder of one living run. For one thread at a time."""

    def __init__(self, folder: Folder) -> None:
        """Take over the folder of a new run: make and lock its event file. Use `FileRunStore.create`."""
        self.path = folder.path
        self._folder = folder
        with ExitStack() as opened:
            opened.callback(folder.close)
            self._jobs = opened.enter_context(folder.folder(JOBS, make=True))
            self._events = folder.append_to(EVENTS)
            opened.callback(self._events.close)
            self._events.lock()
            opened.pop_all()  # all is well: `close` closes them
        self._texts: dict[str, tuple[RunRecord, str]] = {}

    def append(self, events: Sequence[Event]) -> None:
        """Write events in one call, so that they survive a kill of the process: all, or on an error none."""
        self._events.append(b"".join([self._line(event) for event in events]))

    def sync(self) -> None:
        """Wait until what was appended survives a power failure."""
        self._events.sync()

    def write_job(self, record: RunRecord) -> None:
        """Write one job's record. It can be made again from the events, so it is not synced."""
        name, content = f"{record.job_id}.json", self._text(record).encode("ascii") + b"\n"
        try:
            self._jobs.write_new(name, content)
        except FileExistsError:
            self._jobs.replace(name, content)

    def write_run(self, run: PipelineRun) -> None:
        """Write the run's summary in place of the one before."""
        self._folder.replace(SUMMARY, encode_summary(run, [self._text(job) for job in run.jobs]))

    def close(self) -> None:
        """Release the lock: the run is no longer alive. Closing twice is harmless."""
        self._events.close()
        self._jobs.close()
        self._folder.close()

    def _line(self, event: Event) -> bytes:
        if isinstance(event, JobFinished):
            return encode_line(to_dict(event, without="record"), record=self._text(event.record))
        return encode_line(to_dict(event))

    def _text(self, record: RunRecord) -> str:
        """A record as JSON text. It is needed three times: in its event, its file, and the summary."""
        known = self._texts.get(record.job_id)
        if known is None or known[0] is not record:
            known = self._texts[record.job_id] = (record, dumps(record.to_dict()))
        return known[1]
