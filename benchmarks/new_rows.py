"""1,000 new events among 1,000,000 with 7,000,000 observations.

    python benchmarks/new_rows.py [EVENTS]

Required: at most 0.55 s above a hand-written script (read, list of dictionaries, MERGE); aim 0.30 s.
"""

from __future__ import annotations

import shutil
import sys

from harness import (
    alternate,
    by_hand,
    cli,
    difference,
    ensure_environment,
    machine,
    project,
    restore,
    table,
    verdict,
)
from scoring_project import CODE, CONFIGS, fill


def main() -> None:
    """Build the data, run both in turn on a fresh copy each, print figures and verdict."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    ensure_environment()
    with project(CONFIGS, CODE) as folder:
        (folder / "var").mkdir()
        saved, live = folder / "saved.duckdb", folder / "var" / "warehouse.duckdb"
        fill(saved, scored=events, new=1_000)
        shutil.copyfile(saved, live)
        put_back = restore(saved, live)
        ours = cli(folder, "-q", "score", before=put_back)
        hand = by_hand("score.py", folder, str(live), before=put_back)
        alternate([ours, hand], runs=5, warmup=1)
    print(f"## 1,000 new among {events:,} events, {events * 7:,} observations; {machine()}\n")
    print(table([ours, hand]))
    print(verdict("above hand-written", difference(ours, hand), 0.55, 0.30))


if __name__ == "__main__":
    main()
