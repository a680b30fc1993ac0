"""Takes the events of a run without making it wait, and brings them to disk in groups.

    writer = store.create(run_id, name, started_at)                     # blocking: in a worker thread
    async with Recorder(writer, run_id=run_id, observers=[show], on_failure=scope.cancel) as recorder:
        recorder.emit(RunStarted(...))                                  # first
        ...                                                             # emit as things happen
        run = await recorder.finish(duration_ms=...)                    # last
    # here the run is over: everything is on disk, its lock is free, no thread or file is open

One background task of the recorder's own task group writes: whatever came in while the last group was being
written is the next group, in one call of one worker thread. On disk means: survives kill -9 of the process. A
power failure may take what was written in the last `SYNC_EVERY` seconds. Runs on asyncio and trio.
"""

from runner.recorder.disk import SYNC_EVERY
from runner.recorder.recorder import Closing, Observer, Recorder
from runner.recorder.texts import Redact, redacted

__all__ = ["SYNC_EVERY", "Closing", "Observer", "Recorder", "Redact", "redacted"]
