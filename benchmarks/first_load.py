"""The first load: 100,000 events become 700,000 observations through a row transform.

    python benchmarks/first_load.py [EVENTS] [--no-growth]
    python benchmarks/first_load.py --weights

Required: not slower than the plain hand-written script (json.loads a row, lists of dictionaries, one MERGE); aim
0.7 times it. With `runs_in: process` on two cores: at most 0.65 times our own time with threads. Ten times the events
at the same peak memory: under 400 MiB, aim 300. `--weights`: processes and threads with functions that take longer.
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
from scoring_project import CODE, CONFIGS, PROCESS_JOB, busier, fill

WEIGHTS_US = (0, 10, 20, 40, 80)
"""Microseconds that the function computes for each event beyond what it does anyway."""


def weights(events: int) -> None:
    """Print the ratio of processes to threads by what the function computes for a row."""
    print(f"## Processes to threads, {events:,} events to {events * 7:,} observations; {machine()}\n")
    print("| more in the function, a row | threads s | processes s | ratio |\n|---|---|---|---|")
    processes = CONFIGS | {"configs/jobs/score.yaml": PROCESS_JOB}
    for microseconds in WEIGHTS_US:
        code = busier(microseconds)
        with project(CONFIGS, code) as one, project(processes, code) as other:
            saved = one / "saved.duckdb"
            fill(saved, scored=0, new=events)
            both = []
            for folder in (one, other):
                (folder / "var").mkdir()
                put_back = restore(saved, folder / "var" / "warehouse.duckdb")
                both.append(cli(folder, "-q", "score", before=put_back))
            threads, fast = both
            alternate(both, runs=5, warmup=1)
            print(
                f"| {microseconds} us | {threads.wall:.2f} | {fast.wall:.2f} | {ratio(fast, threads):.2f} |"
            )


def main() -> None:
    """Compare at one size, then show peak memory at ten times of it."""
    numbers = [argument for argument in sys.argv[1:] if argument.isdigit()]
    events = int(numbers[0]) if numbers else 100_000
    ensure_environment()
    if "--weights" in sys.argv:
        weights(events)
        return
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
