"""The reference project as a user runs it: generated mail and form exports, through canonical form, to scores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.perf.commands import LIMIT_S, Done, run
from tests.perf.figures import Figure
from tests.projects import REPOSITORY, open_file, rows_of

pytestmark = [pytest.mark.perf, pytest.mark.timeout(2 * LIMIT_S)]

EMAILS = 1_000
SCALES = 7
"""Observations that a response of intake_01 gives at most; one whose scale has no answers gives fewer."""


@pytest.fixture(scope="module")
def incoming(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 messages of many kinds, and as many form responses."""
    folder = tmp_path_factory.mktemp("incoming")
    for kind, place in (("mail", folder), ("forms", folder / "forms")):
        script = REPOSITORY / "benchmarks" / "generate.py"
        subprocess.run(
            [sys.executable, script, kind, str(EMAILS), place], check=True, stdout=subprocess.DEVNULL
        )
    for name in ("maildir/cur", "maildir/new", "maildir/tmp", "eml"):
        (folder / name).mkdir(parents=True)
    (folder / "archive.mbox").touch()
    return folder


def daily(incoming: Path, state: Path) -> Done:
    """Run everything, with the warehouse below `state`."""
    places = {"inbox_mbox": "inbox.mbox", "archive_mbox": "archive.mbox", "maildir": "maildir", "eml_dir": "eml",
              "forms_dir": "forms"}  # fmt: skip
    sets = [word for name, place in places.items() for word in ("--set", f"{name}={incoming / place}")]
    return run(REPOSITORY, state, "daily", *sets)


class TestEndToEnd:
    """Into an empty warehouse, then once more without news."""

    def test_1000_emails_and_responses_become_observations_in_less_than_300_s_and_are_not_read_again(
        self, incoming: Path, tmp_path: Path, figure: Figure
    ) -> None:
        first = daily(incoming, tmp_path)
        again = daily(incoming, tmp_path)
        (counts,) = self.counts(tmp_path / "warehouse.duckdb")

        figure(
            f"{EMAILS:,} emails and responses end to end",
            f"{first.wall_s:.2f} s (the run {first.run_s:.2f} s), {first.peak_mib:.0f} MiB; {counts['observations']:,} "
            f"observations; {EMAILS / first.wall_s:,.0f} emails a second",
        )
        figure("the same again, without news", f"{again.wall_s:.2f} s (the run {again.run_s:.2f} s)")
        assert first.run["status"] == again.run["status"] == "success"
        assert counts["messages"] == counts["events"] == EMAILS
        assert 0.9 * SCALES * EMAILS <= counts["observations"] <= SCALES * EMAILS
        assert first.wall_s < LIMIT_S
        assert again.run["rows_written"] == 0
        assert again.run_s < 0.4 * first.run_s

    def counts(self, file: Path) -> list[dict[str, int]]:
        """Rows at the ends of both ways."""
        with open_file(file) as connection:
            return rows_of(
                connection,
                "SELECT (SELECT count(*) FROM canonical.mail) AS messages,"
                " (SELECT count(DISTINCT measurement_event_id) FROM derived.measurement_events) AS events,"
                " (SELECT count(*) FROM derived.observations) AS observations",
            )
