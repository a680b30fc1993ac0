"""Questions to a store of 10,000 runs, whole processes: `runs`, `runs` with filters, `stats`, `show`.

    python benchmarks/run_store.py [FOLDER]

Required: `runs` 0.4 s, `stats NAME` 1 s. The store is `seed_runs.py`'s; it is made anew (30 s, 800 MB on disk) unless
FOLDER has one from before. One round is not counted, so that the files are in the system's cache.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from harness import ROOT, alternate, cli, ensure_environment, machine, table, verdict
from seed_runs import seed

RUNS = 10_000


def main() -> None:
    """Make the store, ask in turn, print figures and verdicts."""
    ensure_environment()
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder))


def measure(state: Path) -> None:
    """Ask the store in the state folder `state`."""
    if not (state / "runs").exists():
        seed(state / "runs", RUNS)
    env = {"RUN_PIPELINE_STATE_DIR": str(state)}
    questions = {
        "runs": ["runs"],
        "runs, 500 of them": ["runs", "--limit", "500"],
        "runs --status, every run looked at": ["runs", "--status", "cancelled"],
        "stats shop, 360 runs of 12 jobs": ["stats", "shop"],
        "stats nightly, 30 runs of 30 jobs": ["stats", "nightly"],
        "stats shop --runs 1000": ["stats", "shop", "--runs", "1000"],
        "show last --gantt": ["show", "last", "--gantt"],
    }
    commands = [cli(ROOT, *words, name=name) for name, words in questions.items()]
    for command in commands:
        command.env = {**command.env, **env}
    alternate(commands, runs=7, warmup=1)
    print(f"## A store of {RUNS:,} runs; {machine()}\n")
    print(table(commands))
    print(verdict("runs", commands[0].wall, 0.4, 0.4))
    print(verdict("stats", commands[3].wall, 1.0, 1.0))


if __name__ == "__main__":
    main()
