"""Kill `run-pipeline daily` again and again, and look at what the next run makes of it.

By hand: `python -m tests.chaos.kill_daily --rounds 50 --seed 7` prints a line a round and a summary, and exits with 1
when a promise is broken. Each round begins with nothing: a process runs `daily` on the samples and is killed
(SIGKILL) at a random moment, then `daily` runs undisturbed. Promises 1 and 3, and that no event is logged twice.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runner.event_log import pending_runs
from runner.pipeline_runner.places import outbox_dir
from runner.records import Status
from runner.run_store import FileRunStore
from tests.projects import PROCESSING, REPOSITORY, ReferenceProject, digests, open_file

EARLY = 5
"""Every so many rounds the kill may also come before the run has begun."""


@dataclass
class Round:
    """What one kill led to. `moment`: milliseconds after the run began; `landings` that were committed by then."""

    moment: float
    first: str
    landings: int
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"killed at {self.moment:6.0f} ms: {self.first:8} {self.landings:2} landings"
        return text + "".join(f"\n    {problem}" for problem in self.problems)


class KillDaily:
    """Kills over copies of the samples. `folder` is where everything is kept."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self._project = ReferenceProject(folder)
        _leave_out_doubles(self._project.samples)
        self._states = folder
        self._project.state = folder / "undisturbed"
        run = self._project.run()
        self.duration = run.duration_ms / 1000
        self._expected = digests(self._project.warehouse_file, without=PROCESSING)

    def rounds(self, count: int) -> Iterator[Round]:
        """Do so many rounds, spread over the run."""
        for number in range(count):
            self._project.state = self._states / f"round-{number}"
            early = number % EARLY == EARLY - 1
            share = self._random.random() if early else 1.3 * (number + self._random.random()) / count
            moment, finished = self._killed(early, share)
            yield self._judged(moment, finished)

    def _killed(self, early: bool, share: float) -> tuple[float, bool]:
        """Start `daily` and kill it. Return when, in seconds after it began, and whether it was over before."""
        given = [
            part for name, value in self._project.params.items() for part in ("--set", f"{name}={value}")
        ]
        environment = {"PYTHONPATH": str(REPOSITORY), "RUN_PIPELINE_STATE_DIR": str(self._project.state)}
        with subprocess.Popen(
            [sys.executable, "-m", "runner", "--project", str(REPOSITORY), "run", "daily", *given],
            env=os.environ | environment, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            started = time.monotonic()
            while not early and process.poll() is None and not self._has_begun():
                time.sleep(0.001)
            began = time.monotonic()
            while process.poll() is None and time.monotonic() - began < share * self.duration:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            told = process.communicate()[1].decode()
            if process.returncode not in (0, -signal.SIGKILL):
                raise RuntimeError(f"daily ended by itself with {process.returncode}:\n{told}")
            return time.monotonic() - (started if early else began), process.returncode == 0

    def _has_begun(self) -> bool:
        outbox = self._project.state / "outbox"
        return outbox.is_dir() and any(outbox.iterdir())

    def _judged(self, moment: float, finished: bool) -> Round:
        store = FileRunStore(self._project.settings().runs_dir)
        before = store.latest()
        landings = self._landings()
        found = Round(moment * 1000, before[0].status.value if before else "nothing", landings)
        expected = {Status.SUCCESS} if finished else {Status.SUCCESS, Status.CRASHED}
        found.problems += [
            f"killed run reads as {run.status}" for run in before if run.status not in expected
        ]
        run = self._project.run()
        if run.status is not Status.SUCCESS:
            found.problems.append(f"the next run ended as {run.status}: {[job.errors for job in run.jobs]}")
        tables = digests(self._project.warehouse_file, without=PROCESSING)
        for name in sorted(tables.keys() | self._expected.keys()):
            if tables.get(name) != self._expected.get(name):
                rows = f"{len(tables.get(name, []))} rows, expected {len(self._expected.get(name, []))}"
                found.problems.append(f"{name} is not as after an undisturbed run ({rows})")
        found.problems += self._log_problems(store)
        return found

    def _landings(self) -> int:
        file = self._project.warehouse_file
        if not file.exists():
            return 0
        with open_file(file) as connection:
            tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'ops'")
            if ("landings",) not in tables.fetchall():
                return 0
            (count,) = connection.execute("SELECT count(*) FROM ops.landings").fetchall()
            return int(count[0])

    def _log_problems(self, store: FileRunStore) -> Iterator[str]:
        """Say where the event log is not exactly what the run store holds."""
        stored = Counter(
            event.event_id for run in store.latest() for event in store.events(run.pipeline_run_id)
        )
        with open_file(self._project.warehouse_file) as connection:
            logged = Counter(
                event_id
                for (event_id,) in connection.execute("SELECT event_id FROM ops.event_log").fetchall()
            )
        if lost := stored - logged:
            yield f"{lost.total()} events are not in ops.event_log"
        if extra := logged - stored:
            yield f"{extra.total()} events too many in ops.event_log"
        if pending := pending_runs(outbox_dir(self._project.settings())):
            yield f"the outbox still holds {pending}"


def _leave_out_doubles(samples: Path) -> None:
    """Take the message that inbox and archive share out of the archive: which one lands first is chance."""
    known = {content for _, content in _messages(samples / "inbox.mbox")}
    kept = [
        envelope + content
        for envelope, content in _messages(samples / "archive.mbox")
        if content not in known
    ]
    (samples / "archive.mbox").write_bytes(b"".join(kept))


def _messages(mbox: Path) -> list[tuple[bytes, bytes]]:
    """Return (From line, the rest) of each message of an mbox."""
    found: list[tuple[bytes, bytes]] = []
    for line in mbox.read_bytes().splitlines(keepends=True):
        if line.startswith(b"From "):
            found.append((line, b""))
        else:
            envelope, content = found.pop()
            found.append((envelope, content + line))
    return [(envelope, content.rstrip(b"\n") + b"\n\n") for envelope, content in found]


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        killing = KillDaily(Path(folder), options.seed)
        print(f"seed {options.seed}; an undisturbed run takes {killing.duration * 1000:.0f} ms")
        done = []
        for number, found in enumerate(killing.rounds(options.rounds)):
            print(f"{number:3} {found}", flush=True)
            done.append(found)
    broken = sum(bool(found.problems) for found in done)
    ends = ", ".join(f"{count} {word}" for word, count in Counter(found.first for found in done).items())
    middle = sum(0 < found.landings < 13 for found in done)
    print(
        f"{len(done)} kills: {ends}; {middle} between the first and the last landing; {broken} broken promises"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
