"""A disk that is really full: small tmpfs of many sizes, from no room for anything to room for all."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from errno import ENOSPC
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from runner.event_log import add_to_outbox
from runner.events import RunFinished
from runner.recorder import Recorder
from runner.records import PipelineRun, Status
from runner.run_store import FileRunStore
from runner.testing.run_history import run_history

pytestmark = pytest.mark.chaos


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A tmpfs of `request.param` options; skipped where mounting is not allowed."""
    options: str = request.param
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mount: {mounted.stderr.decode()}")
    yield tmp_path
    released = subprocess.run(["umount", str(tmp_path)], capture_output=True, check=False)
    if released.returncode:  # something still has a file open there
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)
        pytest.fail(released.stderr.decode())


async def run_fifty_jobs(store: FileRunStore, outbox: Path) -> PipelineRun:
    """A run of 50 jobs, as the composition root does it; ended by the recorder when the disk is full."""
    events = run_history(jobs=[f"job_{number}" for number in range(50)])
    run_id = events[0].run_id
    writer = await anyio.to_thread.run_sync(store.create, run_id, "daily", events[0].timestamp)
    scope = anyio.CancelScope()
    async with Recorder(writer, run_id=run_id, on_failure=scope.cancel) as recorder:
        with scope:
            await anyio.to_thread.run_sync(add_to_outbox, outbox, run_id)
            for event in events:
                if not isinstance(event, RunFinished):
                    recorder.emit(event)
                    await anyio.sleep(0.0001)
        return await recorder.finish(duration_ms=1)


@pytest.mark.parametrize(
    "disk",
    [
        *(f"size={kilobytes}k" for kilobytes in range(24, 400, 20)),
        *(f"nr_inodes={n}" for n in range(4, 60, 8)),
    ],
    indirect=True,
)
def test_a_full_disk_is_said_and_everything_stays_readable(disk: Path) -> None:
    """Ended or refused, never hung; what is there is whole; and with room again the next run succeeds."""
    store = FileRunStore(disk / "runs")
    try:
        outcome = anyio.run(run_fifty_jobs, store, disk / "outbox")
    except OSError as error:  # not even the run's folder could be made
        assert error.errno == ENOSPC, error  # noqa: PT017 - either way is right, by the size of the disk
    else:
        assert [error.category for error in outcome.errors] in ([], ["disk_full"])
        assert (outcome.status is Status.SUCCESS) == (not outcome.errors)
    for run in store.latest():
        assert run.status in (Status.SUCCESS, Status.PARTIAL, Status.FAILURE, Status.CRASHED)
        assert [error.category for error in run.errors] in ([], ["disk_full"], ["crashed"])
        assert store.read_events(run.pipeline_run_id).torn == 0
        store.load(run.pipeline_run_id)
    assert not list(disk.rglob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=8m,nr_inodes=1000", str(disk)], check=True)
    assert anyio.run(run_fifty_jobs, store, disk / "outbox2").status is Status.SUCCESS
