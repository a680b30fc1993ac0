"""A side of `compare.py` with its folders: the project, its first load, and copies to put back before each run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
from harness import ROOT, Command
from peer_commands import Side
from peer_environments import PEERS

KNOWN, NEW, DAYS = 100_000, 1_000, 99
"""As in peers/data.py."""

_YESTERDAY = datetime.now(UTC).date() - timedelta(1)
DAY, FIRST_DAY = _YESTERDAY.isoformat(), (_YESTERDAY - timedelta(DAYS)).isoformat()
"""Of the new rows, and of the oldest."""


@dataclass(slots=True)
class Contender:
    """A side with its programs and folders. Why it cannot be run: `reasons` by case, `reason` if it is all of them."""

    side: Side
    programs: Path
    folder: Path
    commands: dict[str, Command] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    reason: str = ""

    def prepare(self) -> None:
        """Load the 100,000 rows with the side's own first run; save that, and the same with 1,000 more events."""
        for case in ("none", "nothing"):
            words = self.side.scores if case == "none" else self.side.nothing
            if not words:
                continue
            self._project(case)
            self._data("known", self._live(case))
            self._call(self.side.prepare or words, case)
            shutil.copytree(self._live(case), self._saved(case))
        shutil.copytree(self._saved("none"), self._saved("new"))
        self._data("new", self._saved("new"))
        for case, words in (
            ("none", self.side.scores), ("new", self.side.scores), ("nothing", self.side.nothing),
            ("help", self.side.help), ("list", self.side.list),
        ):  # fmt: skip
            if words:
                self.commands[case] = self._command(case, words)

    def verify(self, case: str) -> None:
        """Raise unless the last run of a case left as many scores as there are events."""
        rows = {"none": KNOWN, "new": KNOWN + NEW}.get(case)
        if rows is None:
            return
        with duckdb.connect(str(self._live(case) / "warehouse.duckdb"), read_only=True) as connection:
            query = f"SELECT count(*), count(DISTINCT event_id) FROM {self.side.table}"
            found = connection.execute(query).fetchone()
        assert found == (rows, rows), f"{found} rows and keys instead of {rows}"

    def _project(self, case: str) -> None:
        live = self._live(case)
        shutil.copytree(PEERS / self.side.name, live, ignore=shutil.ignore_patterns("__pycache__"))
        if self.side.works:
            shutil.copy(PEERS / "by_hand" / "work.py", live)
        if case == "nothing" and self.side.idle_without:
            shutil.rmtree(live / self.side.idle_without)
        for path, text in self.side.files.items() if case == "nothing" else ():
            (live / path).parent.mkdir(parents=True, exist_ok=True)
            (live / path).write_text(text)
        for file in live.rglob("*.sql"):
            file.write_text(file.read_text().replace("FIRST_DAY", f"'{FIRST_DAY}'"))

    def _command(self, case: str, words: Sequence[str]) -> Command:
        live, saved = self._live(case), self._saved(case if case in {"none", "new", "nothing"} else "none")

        def put_back() -> None:
            shutil.rmtree(live, ignore_errors=True)
            shutil.copytree(saved, live)

        return Command(self.side.title, self._filled(words, live), live, env=self._env(live), before=put_back)

    def _call(self, words: Sequence[str], case: str) -> None:
        live = self._live(case)
        done = subprocess.run(
            self._filled(words, live), cwd=live, env={**os.environ, **self._env(live)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{self.side.title} ended with {done.returncode}:\n{done.stdout}")

    def _data(self, what: str, folder: Path) -> None:
        script, file = PEERS / "data.py", folder / "warehouse.duckdb"
        subprocess.run([self.programs / "python", script, what, file, DAY], check=True)

    def _filled(self, words: Sequence[str], live: Path) -> list[str]:
        places = {"ours": ROOT / "bin" / "run-pipeline", "python": self.programs / "python",
                  "bin": self.programs, "day": DAY, "live": live}  # fmt: skip
        return [word.format(**places) for word in words]

    def _env(self, live: Path) -> Mapping[str, str]:
        return {name: value.format(live=live) for name, value in self.side.env.items()}

    def _live(self, case: str) -> Path:
        """One place for all cases of a project: what a side remembers of its project may hold the path."""
        return self.folder / ("idle" if case == "nothing" else "project")

    def _saved(self, case: str) -> Path:
        return self.folder / f"saved-{case}"
