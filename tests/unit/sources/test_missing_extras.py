"""A source whose extra is not installed: said before the run, with the command that installs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.projects import REPOSITORY, ThrowAwayProject

WITHOUT = """
import sys
sys.modules["httpx2"] = sys.modules["dlt"] = None  # as if they were not there
from runner.cli import main
sys.exit(main(["--project", sys.argv[1], "validate"]))
"""


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            {"source": "http", "with": {"path": "https://api.example.org/items"}},
            (
                "steps[0].source: source http needs httpx2, which is not installed;"
                f" expected it: {sys.executable} -m pip install httpx2"
            ),
        ),
        (
            {"source": "dlt", "resource": "somewhere.api:items"},
            f"steps[0].resource: source dlt needs dlt, which is not installed ({sys.executable} -m pip install dlt)",
        ),
    ],
    ids=["http", "dlt"],
)
def test_a_missing_extra_is_told_at_load(
    project: ThrowAwayProject, step: dict[str, object], expected: str
) -> None:
    project.job("job", {"step_id": "pull", "op": "extract", **step})
    done = subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT, str(project.root)],
        env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert expected in done.stdout + done.stderr
