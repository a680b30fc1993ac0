"""Nothing new among 1,000,000 events and 7,000,000 observations: what a run costs that has nothing to do.

    python benchmarks/no_news.py [EVENTS]

Required: at most 0.40 s above a hand-written script that sends the same statement; aim 0.20 s.
"""

from __future__ import annotations

import sys

from harness import alternate, by_hand, cli, difference, ensure_environment, machine, project, table, verdict
from scoring_project import CODE, CONFIGS, fill


def main() -> None:
    """Build the data, run both in turn, print figures and verdict."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    ensure_environment()
    with project(CONFIGS, CODE) as folder:
        (folder / "var").mkdir()
        database = folder / "var" / "warehouse.duckdb"
        fill(database, scored=events, new=0)
        ours = cli(folder, "-q", "score")
        hand = by_hand("no_news.py", folder, str(database))
        alternate([ours, hand], runs=9, warmup=2)
    print(f"## No news: {events:,} events, {events * 7:,} observations; {machine()}\n")
    print(table([ours, hand]))
    print(verdict("above hand-written", difference(ours, hand), 0.40, 0.20))


if __name__ == "__main__":
    main()
