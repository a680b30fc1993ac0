"""Runs whole commands in turn, A B A B, and compares them pair by pair.

Whole processes, because that is what a timer starts: interpreter, imports, work and exit. Times and peak memory are
the operating system's own accounting of each finished process (`wait4`). Machines drift, so figures are only
compared within one run, alternating, and ratios are taken pair by pair.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"
"""The interpreter of the project's own environment; `bin/run-pipeline` makes it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One finished process: wall and processor seconds, peak resident memory in MiB."""

    wall: float
    cpu: float
    rss: float


@dataclass(slots=True)
class Command:
    """One side of a comparison. `before` puts things back as they were, outside the measured time."""

    name: str
    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[], None] = lambda: None
    samples: list[Sample] = field(default_factory=list)

    def run(self) -> Sample:
        """Run once and measure; raises `RuntimeError` with the output when it fails."""
        self.before()
        with tempfile.TemporaryFile() as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                self.argv,
                cwd=self.cwd,
                env={**os.environ, **self.env},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                output.seek(0)
                raise RuntimeError(f"{self.name} ended with {process.returncode}:\n{output.read().decode()}")
        return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)

    @property
    def wall(self) -> float:
        """Median wall seconds."""
        return median(sample.wall for sample in self.samples)

    @property
    def rss(self) -> float:
        """Greatest peak memory, MiB."""
        return max(sample.rss for sample in self.samples)


def alternate(commands: Sequence[Command], runs: int = 5, warmup: int = 1) -> None:
    """Run the commands in turn, `warmup` rounds uncounted and `runs` rounds counted."""
    for number in range(warmup + runs):
        for command in commands:
            sample = command.run()
            if number >= warmup:
                command.samples.append(sample)


def ratio(one: Command, other: Command) -> float:
    """Median of the pairwise ratios of wall time."""
    return median(a.wall / b.wall for a, b in zip(one.samples, other.samples, strict=True))


def difference(one: Command, other: Command) -> float:
    """Median of the pairwise differences of wall time, in seconds."""
    return median(a.wall - b.wall for a, b in zip(one.samples, other.samples, strict=True))


def table(commands: Sequence[Command]) -> str:
    """Render the figures as a Markdown table; ratio and difference are against the last command."""
    reference = commands[-1]
    lines = [
        "| command | wall s, median (min to max) | cpu s | peak MiB | ratio | difference s |",
        "|---|---|---|---|---|---|",
    ]
    for command in commands:
        walls = [sample.wall for sample in command.samples]
        cpu = median(sample.cpu for sample in command.samples)
        compared = (
            f"{ratio(command, reference):.2f} | {difference(command, reference):+.3f}"
            if command is not reference
            else "1 | "
        )
        lines.append(
            f"| {command.name} | {command.wall:.3f} ({min(walls):.3f} to {max(walls):.3f}) | {cpu:.2f} |"
            f" {command.rss:.0f} | {compared} |"
        )
    return "\n".join(lines)


def verdict(text: str, value: float, must: float, aim: float, unit: str = "s") -> str:
    """Say how a figure stands to what it must be and to the aim."""
    word = (
        "meets the aim"
        if value <= aim
        else "meets the requirement"
        if value <= must
        else "MISSES the requirement"
    )
    return f"- {text}: {value:.3f} {unit}; must {must:g}, aim {aim:g}: {word}"


def machine() -> str:
    """One line about this machine."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


@contextmanager
def project(configs: Mapping[str, str], code: Mapping[str, str]) -> Iterator[Path]:
    """Make a throw-away project: `configs/` and `jobs/` from path-to-text mappings."""
    with tempfile.TemporaryDirectory(prefix="run-pipeline-bench-") as name:
        folder = Path(name)
        for path, text in {**configs, **code}.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (folder / "configs").mkdir(exist_ok=True)
        settings = folder / "configs" / "runner.toml"
        if not settings.exists():
            settings.write_text("")
        yield folder


def cli(
    folder: Path, *arguments: str, name: str = "run-pipeline", before: Callable[[], None] = lambda: None
) -> Command:
    """The project's own command on a project folder."""
    return Command(
        name,
        [str(ROOT / "bin" / "run-pipeline"), "--project", str(folder), *arguments],
        folder,
        before=before,
    )


def by_hand(script: str, folder: Path, *arguments: str, before: Callable[[], None] = lambda: None) -> Command:
    """A hand-written script of `benchmarks/by_hand`, run by the same interpreter."""
    path = ROOT / "benchmarks" / "by_hand" / script
    return Command("by hand", [str(PYTHON), str(path), *arguments], folder, before=before)


def restore(saved: Path, live: Path) -> Callable[[], None]:
    """Return what puts a copy of `saved` in the place of `live` (with its WAL gone)."""

    def put_back() -> None:
        Path(f"{live}.wal").unlink(missing_ok=True)
        shutil.copyfile(saved, live)

    return put_back


def ensure_environment() -> None:
    """Make the project's environment if it is not there, outside any measurement."""
    subprocess.run([str(ROOT / "bin" / "run-pipeline"), "--help"], check=True, stdout=subprocess.DEVNULL)
    if not PYTHON.exists():
        sys.exit(f"no interpreter at {PYTHON}")
