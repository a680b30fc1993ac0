"""The first load: 100,000 events become 700,000 observations through a row transform.

    python benchmarks/first_load.py [EVENTS] [--no-growth]

Required: not slower than the plain hand-written script (json.loads a row, lists of dictionaries, one MERGE); aim
0.7 times it. With `runs_in: process` on two cores: at most 0.65 times our own time with threads. Ten times the events
at the same peak memory: under 400 MiB, aim 300.
"""

from __future__ import annotations

import shutil
import sys

from harness import (
    alternate,
    by_hand,
    cli,
    ensure_environment,
    machine,
    project,
    ratio,
    restore,
    table,
    verdict,
)
from scoring_project import CODE, CONFIGS, PROCESS_JOB, fill


def main() -> None:
    """Compare at one size, then show peak memory at ten times of it."""
    numbers = [argument for argument in sys.argv[1:] if argument.isdigit()]
    events = int(numbers[0]) if numbers else 100_000
    ensure_environment()
    processes = CONFIGS | {"configs/jobs/score.yaml": PROCESS_JOB}
    with project(CONFIGS, CODE) as folder, project(processes, CODE) as other:
        (folder / "var").mkdir()
        (other / "var").mkdir()
        saved, live = folder / "saved.duckdb", folder / "var" / "warehouse.duckdb"
        fill(saved, scored=0, new=events)
        shutil.copyfile(saved, live)
        put_back = restore(saved, live)
        ours = cli(folder, "-q", "score", before=put_back)
        hand = by_hand("score.py", folder, str(live), before=put_back)
        fast = cli(
            other, "-q", "score", name="run-pipeline, runs_in: process",
            before=restore(saved, other / "var" / "warehouse.duckdb"),
        )  # fmt: skip
        alternate([ours, hand, fast], runs=5, warmup=1)
        print(f"## First load: {events:,} events to {events * 7:,} observations; {machine()}\n")
        print(table([ours, fast, hand]))
        print(verdict("ratio to hand-written", ratio(ours, hand), 1.0, 0.7, "times"))
        print(verdict("processes to threads", ratio(fast, ours), 0.65, 0.6, "times"))
        if "--no-growth" not in sys.argv:
            fill(saved, scored=0, new=events * 10)
            large = cli(folder, "-q", "score", name=f"run-pipeline, {events * 10:,} events", before=put_back)
            alternate([large], runs=1, warmup=0)
            print(
                f"- {events * 10:,} events: {large.wall:.1f} s, peak {large.rss:.0f} MiB against {ours.rss:.0f} MiB"
            )
            print(verdict("peak memory", large.rss, 400, 300, "MiB"))


if __name__ == "__main__":
    main()
