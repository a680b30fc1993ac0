"""A killed `daily` loses nothing, leaves nothing half, and the next run makes it whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.kill_daily import KillDaily


@pytest.mark.parametrize(
    "rounds",
    [2, pytest.param(50, marks=[pytest.mark.chaos, pytest.mark.timeout(900)])],
    ids=["a few", "many"],
)
def test_the_next_run_makes_a_killed_one_whole(tmp_path: Path, rounds: int) -> None:
    found = list(KillDaily(tmp_path, seed=2026).rounds(rounds))

    assert [str(each) for each in found if each.problems] == []
    assert any(each.first == "crashed" for each in found), "\n".join(map(str, found))
