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

from runner.run_store.store import FileRunStore
from runner.run_store.stored import StoredEvents
from runner.run_store.writer import FileRunWriter

__all__ = ["FileRunStore", "FileRunWriter", "StoredEvents"]
