"""`--require`: a server that cannot be had fails what needs it, and says why; without it, a skip says why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

NEEDS_ONE = """
import pytest
from tests.servers.debian_packages import NotToBeHadError
from tests.servers.required import unavailable

@pytest.mark.parametrize("n", [1, 2])
def test_of_postgres(request, n):
    unavailable(request.config, "postgres", NotToBeHadError("no such wheel"))

def test_of_a_broken_bigquery(request):
    unavailable(request.config, "bigquery", RuntimeError("port taken"))
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on tests that need servers, with the option of this repository, and no plugins but pytest-xdist."""
    (folder / "test_needs.py").write_text(NEEDS_ONE)
    command = [sys.executable, "-P", "-m", "pytest", "-p", "tests.servers.required", "-p", "xdist.plugin"]
    given = ["-rs", "--rootdir", str(folder), "-c", os.devnull, *arguments, "test_needs.py"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [*command, *given], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )


def test_a_required_server_fails(tmp_path: Path) -> None:
    """Also in a process of pytest-xdist; the option may be given twice, with several names."""
    done = run(tmp_path, "--require=duckdb", "--require=bigquery,postgres", "-n", "1")
    assert done.returncode == 1, done.stderr
    assert "3 failed" in done.stdout
    assert done.stdout.count("\n--require=postgres: no such wheel") == 2, done.stdout


def test_without_it_a_skip_tells_the_reason(tmp_path: Path) -> None:
    """What is there and does not start fails all the same."""
    done = run(tmp_path, "--require=duckdb")
    assert "1 failed, 2 skipped" in done.stdout
    assert "postgres: no such wheel" in done.stdout
    assert "bigquery: port taken" in done.stdout


def test_an_unknown_name_is_a_usage_error() -> None:
    """It names those there are."""
    command = [sys.executable, "-P", "-m", "pytest", "--require=duckdb,postgers", "tests/unit/test_sql.py"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert (
        "no server is called 'postgers'; there are bigquery, chromium, dovecot, duckdb, postgres"
        in done.stderr
    )


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="this Python itself could run the emulator")
@pytest.mark.parametrize("required", [True, False])
def test_a_missing_python_for_the_emulator_is_told(tmp_path: Path, required: bool) -> None:
    """On a machine that has not had the emulator before, and has this Python alone."""
    (tmp_path / "test_needs.py").write_text("def test_of_bigquery(bigquery_project): ...\n")
    given = ["--require=bigquery"] if required else []
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-p",
        "tests.servers.required",
        "-p",
        "tests.servers.fixtures",
    ]
    options = ["-rs", "--rootdir", str(tmp_path), "-c", os.devnull, *given, "test_needs.py"]
    nothing = {name: str(tmp_path / "nothing") for name in ("PATH", "PYENV_ROOT")}
    environment = os.environ | nothing | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": str(REPOSITORY),
    }  # fmt: skip
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    told = "the emulator local-bigquery needs Python 3.13 to 3.15; none is on PATH, with pyenv or with uv"
    assert ("1 error" if required else "1 skipped") in done.stdout, done.stdout
    assert f"{'--require=bigquery' if required else 'bigquery'}: {told}" in done.stdout
