"""Two runners on servers in one application: what they import and open stands in nobody's way, and nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.engines import Engine, new_engine
from tests.projects import REPOSITORY, ThrowAwayProject, call, extract, make_project, read, write

__all__ = ["make_project"]

HOST = Path(__file__).with_name("embedding_host.py")


def copying(project: ThrowAwayProject, engine: Engine) -> ThrowAwayProject:
    """Declare a job that copies 40 rows in about 0.1 s, on an engine that runner.toml names; load what it copies."""
    section = "".join(f"{key} = {json.dumps(value)}\n" for key, value in engine.warehouse.items())
    (project.root / "configs" / "runner.toml").write_text(
        f'package = "{project.package}"\n[warehouse]\n{section}'
    )
    for table in ("src.numbers", "out.numbers"):
        project.table(table, "n int64!", key=["n"])
    project.functions("""
        import time

        def numbers():
            yield from ({"n": n} for n in range(40))

        def copy(row):
            time.sleep(0.002)
            return row
    """)
    project.job("load", extract("numbers"), write("src.numbers"))
    project.job("job", read("src.numbers"), call("copy"), write("out.numbers"))
    project.run("load").raise_for_status()
    return project


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("name", "rounds"),
    [("postgres-18", 4), ("bigquery", 2), pytest.param("bigquery", 10, marks=pytest.mark.chaos)],
)
def test_an_application_goes_on_undisturbed(
    name: str,
    rounds: int,
    request: pytest.FixtureRequest,
    make_project: Callable[[], ThrowAwayProject],
    tmp_path: Path,
) -> None:
    """With -X dev the loop tells of every callback that takes it 0.5 s, and Python of everything left open."""
    with ExitStack() as opened:
        engines = [opened.enter_context(new_engine(name, request, tmp_path)) for _ in range(2)]
        projects = [copying(make_project(), engine) for engine in engines]
        roots = [str(project.root) for project in projects]
        host = subprocess.run(
            [sys.executable, "-W", "error", "-X", "dev", str(HOST), *roots, str(rounds)],
            capture_output=True, text=True, timeout=100, check=False, cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip

        assert (host.returncode, host.stderr) == (0, "")
        report = json.loads(host.stdout)
        assert report["after"] == report["before"]
        last = report["censuses"][-1]
        assert (last["tasks"], last["children"]) == (1, 0)
        assert last["files"] <= report["censuses"][rounds // 2 - 1]["files"]
        assert report["threads_left"] == 1
        outcomes = report["outcomes"]
        assert all(found[1 - number % 2] == "success" for number, found in enumerate(outcomes))
        assert {found[number % 2] for number, found in enumerate(outcomes)} <= {"success", "cancelled"}
        for engine in engines:
            tables = engine.tables()
            assert sorted(row["n"] for row in tables["out.numbers"]) == list(range(40))
            ids = [row["event_id"] for row in tables["ops.event_log"]]
            assert len(ids) == len(set(ids))
