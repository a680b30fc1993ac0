"""A killed `optimize` leaves the table whole, at any moment, and the next one completes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.kill_optimize import KillOptimize
from tests.engines import new_engine

MANY = pytest.param(10, marks=[pytest.mark.chaos, pytest.mark.timeout(300)])


@pytest.mark.parametrize("kills", [1, MANY], ids=["one", "ten"])
@pytest.mark.parametrize("engine", ["duckdb", "postgres-18", "bigquery"])
def test_the_next_optimize_completes_a_killed_one(
    engine: str, kills: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    arguments = ["--backup"] if engine == "duckdb" and kills > 1 else []
    with new_engine(engine, request, tmp_path) as made:
        killing = KillOptimize(tmp_path / "project", made, *arguments)
        rounds = list(killing.rounds(kills))

    assert [str(each) for each in rounds if each.problems] == []
    told = "\n".join(map(str, rounds))
    print(told)
    assert sum(each.killed for each in rounds) == kills, told
    if kills > 1 and engine == "bigquery":
        assert any(each.left for each in rounds), f"no kill came where it leaves something:\n{told}"
