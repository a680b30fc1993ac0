"""Real shapes of work: messages to canonical mail, and form responses to observations, from files.

    python benchmarks/mail.py

Required: 1,000 messages and 1,000 form responses together 5 s, aim 2.5; 10,000 to show the growth. By hand: the same
functions of `jobs/` called one after the other, one insert a table, no incremental read, no records.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from generate import forms, mail
from harness import PYTHON, ROOT, Command, alternate, cli, ensure_environment, machine, table, verdict


def _commands(folder: Path, number: int) -> list[Command]:
    """Both sides, from `number` generated messages and responses, into an empty warehouse each time."""
    mail(folder / "in", number)
    forms(folder / "in" / "forms", number)
    empty = folder / "empty"
    empty.mkdir()
    for name in ("maildir/cur", "maildir/new", "maildir/tmp", "eml"):
        (empty / name).mkdir(parents=True)
    (empty / "archive.mbox").touch()
    state = folder / "state"

    def clear() -> None:
        shutil.rmtree(state, ignore_errors=True)

    settings = [
        f"inbox_mbox={folder / 'in' / 'inbox.mbox'}", f"archive_mbox={empty / 'archive.mbox'}",
        f"maildir={empty / 'maildir'}", f"eml_dir={empty / 'eml'}", f"forms_dir={folder / 'in' / 'forms'}",
    ]  # fmt: skip
    sets = [word for setting in settings for word in ("--set", setting)]
    ours = cli(ROOT, "-q", "daily", *sets, name=f"run-pipeline daily, {number:,} of each", before=clear)
    ours.env = {"RUN_PIPELINE_STATE_DIR": str(state)}
    script = str(ROOT / "benchmarks" / "by_hand" / "mail.py")
    hand = Command("by hand", [str(PYTHON), script, str(folder / "in"), str(folder / "hand.duckdb")], ROOT,
                   before=lambda: (folder / "hand.duckdb").unlink(missing_ok=True))  # fmt: skip
    return [ours, hand]


def main() -> None:
    """Measure 1,000, then 10,000 once."""
    ensure_environment()
    print(f"## Mail and forms; {machine()}\n")
    for number, runs in ((1_000, 3), (10_000, 1)):
        with TemporaryDirectory(prefix="run-pipeline-bench-") as name:
            commands = _commands(Path(name), number)
            alternate(commands, runs=runs, warmup=1 if runs > 1 else 0)
        print(table(commands))
        if number == 1_000:
            print(verdict("1,000 of each", commands[0].wall, 5, 2.5))
        print()


if __name__ == "__main__":
    main()
