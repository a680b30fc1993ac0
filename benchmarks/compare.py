"""The same small work by the peers and by us, in turn: whole processes, medians, ratios.

    python benchmarks/compare.py [--rounds N] [--only PEER ...] [--write]

Nothing new among 100,000 rows; 1,000 new ones; a pipeline of 20 jobs that do nothing; `--help`; the list of what can be
run. Each peer has an environment of its own (peer_environments.py) and its project in benchmarks/peers/. Telemetry and
checks for updates are off. With --write the table goes into docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import PYTHON, ROOT, Command, alternate, ensure_environment, machine, ratio
from peer_commands import BY_HAND, OURS, OURS_IN_SQL, PEERS, Side
from peer_contender import Contender
from peer_environments import NotInstalledError, environment, versions

CASES = {
    "none": "nothing new among 100,000",
    "new": "1,000 new",
    "nothing": "20 idle jobs",
    "help": "`--help`",
    "list": "list",
}
BEGIN, END = "<!-- compare.py: begin -->", "<!-- compare.py: end -->"
DOCUMENT = ROOT / "docs" / "performance.md"


def contenders(sides: Sequence[Side], folder: Path) -> list[Contender]:
    """Return the sides with their environments and first loads; what fails keeps its reason."""
    found = []
    for number, side in enumerate(sides):
        print(f"preparing {side.title} …", flush=True)
        try:
            programs = environment(side.name) / "bin" if side.shown else PYTHON.parent
            contender = Contender(side, programs, folder / str(number))
            contender.prepare()
        except (NotInstalledError, RuntimeError) as error:
            print(error)
            contender = Contender(side, Path(), folder / str(number), reason=str(error).splitlines()[-1])
        found.append(contender)
    return found


def measure(found: Sequence[Contender], rounds: int) -> None:
    """Run each case with all sides in turn; a side that fails in the first round, which does not count, is left out."""
    for case in CASES:
        commands = []
        for contender in found:
            command = contender.commands.get(case)
            if command is None:
                continue
            try:
                command.run()
                contender.verify(case)
            except (RuntimeError, AssertionError) as error:
                print(error)
                contender.reasons[case] = str(error).splitlines()[0]
                del contender.commands[case]
            else:
                commands.append(command)
        print(f"{CASES[case]}: {len(commands)} sides, {rounds} rounds …", flush=True)
        alternate(commands, runs=rounds, warmup=0)
        for contender in found:
            if case in contender.commands:
                contender.verify(case)


def tables(found: Sequence[Contender], rounds: int) -> str:
    """Render what was measured as Markdown: the times, then how each side does the work."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    ours = found[0].commands
    lines = [
        f"Machine: {machine()}, {datetime.now(UTC).date()}; load averages at the end {load}. Medians of {rounds}",
        "rounds, in brackets how many times as long as run-pipeline: the median of the rounds' ratios.",
        "",
        "| | version | " + " | ".join(CASES.values()) + " | peak with 1,000 new |",
        "|---|---|" + "---|" * (len(CASES) + 1),
    ]
    for contender in found:
        cells = [_cell(contender, case, ours.get(case)) for case in CASES]
        new = contender.commands.get("new")
        peak = f"{new.rss:.0f} MiB" if new else "-"
        lines.append(
            f"| {contender.side.title} | {_versions(contender.side)} | {' | '.join(cells)} | {peak} |"
        )
    lines += ["", *(f"- {each.side.title}: {each.side.form}." for each in found)]
    lines += [f"- {each.side.title} was not measured: {each.reason}." for each in found if each.reason]
    lines += [
        f"- {each.side.title}, {CASES[case]}, failed: {reason}."
        for each in found
        for case, reason in each.reasons.items()
    ]
    return "\n".join(lines)


def _cell(contender: Contender, case: str, ours: Command | None) -> str:
    command = contender.commands.get(case)
    if command is None or ours is None:
        return "-"
    if command is ours:
        return f"{command.wall:.2f} s"
    return f"{command.wall:.2f} s ({ratio(command, ours):.1f})"


def _versions(side: Side) -> str:
    if not side.shown:
        asked = [str(PYTHON), "-c", "import duckdb; print(duckdb.__version__)"]
        duckdb_version = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
        return f"DuckDB {duckdb_version}"
    found = versions(side.name)
    return f"{', '.join(found[name] for name in side.shown)}; DuckDB {found['duckdb']}"


def write(text: str) -> None:
    """Put the tables between the two marks of docs/performance.md."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> None:
    """Prepare, measure, print."""
    parser = argparse.ArgumentParser(description="Compare small runs with the peers.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[side.name for side in PEERS], help="only these peers")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    given = parser.parse_args()
    ensure_environment()
    peers = [side for side in PEERS if not given.only or side.name in given.only]
    with TemporaryDirectory(prefix="run-pipeline-compare-") as folder:
        found = contenders([OURS, OURS_IN_SQL, BY_HAND, *peers], Path(folder))
        measure(found, given.rounds)
        text = tables(found, given.rounds)
    print(f"\n{text}")
    if given.write:
        write(text)


if __name__ == "__main__":
    main()
