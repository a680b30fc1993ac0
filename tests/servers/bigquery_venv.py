"""The environment of the BigQuery emulator: Python 3.13 or later and exact packages, made once for all clones."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.servers.debian_packages import NotToBeHadError
from tests.servers.places import cache_folder, locked

REQUIREMENTS = Path(__file__).with_name("bigquery_requirements.txt")
LAUNCHER = Path(__file__).with_name("bigquery_launcher.py")
SECONDS = 240
"""For the installation: it is some 150 MB."""

_GOOD = "import sys; sys.exit(not (3, 13) <= sys.version_info < (3, 16))"


def emulator_python() -> Path:
    """Return the Python of an environment that has the emulator; made if it is missing.

    One process at a time makes it (30 s). Raises `NotToBeHadError`.
    """
    key = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    venv = cache_folder() / f"bigquery-{key}"
    python = venv / "bin" / "python"
    with locked(cache_folder() / "bigquery.lock"):
        if not (venv / "complete").exists() or not _is_good(python):
            shutil.rmtree(venv, ignore_errors=True)
            _install(find_python(), venv)
            (venv / "complete").touch()
    return python


def find_python() -> Path:
    """Return a Python 3.13 to 3.15. Raises `NotToBeHadError`."""
    for candidate in _candidates():
        if _is_good(candidate):
            return candidate
    raise NotToBeHadError(
        "the emulator local-bigquery needs Python 3.13 to 3.15; none is on PATH, with pyenv or with uv"
    )


def _candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    names = [f"python3.{minor}" for minor in (13, 14, 15)]
    yield from (Path(found) for name in names if (found := shutil.which(name)))
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser() / "versions"
    yield from sorted(pyenv.glob("3.1[345].*/bin/python"))
    if uv := shutil.which("uv"):
        command = [uv, "python", "find", ">=3.13,<3.16"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        if said:
            yield Path(said.strip())


def _is_good(python: Path) -> bool:
    try:
        return subprocess.run([python, "-I", "-c", _GOOD], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _install(python: Path, venv: Path) -> None:
    """Make the environment: wheels only, exactly those of the list."""
    refused = ("PIP_", "UV_", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    kept = (
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_CONFIG_FILE",
        "PIP_CERT",
        "PIP_PROXY",
    )
    environment = {
        name: value for name, value in os.environ.items() if name in kept or not name.startswith(refused)
    }
    pip: list[str | Path] = [
        venv / "bin/python",
        "-I",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
    ]
    wheels: list[str | Path] = [
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--requirement",
        REQUIREMENTS,
    ]
    commands: list[list[str | Path]] = [[python, "-m", "venv", venv], [*pip, *wheels]]
    for command in commands:
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=SECONDS, env=environment)
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip().splitlines()
            raise NotToBeHadError(
                f"{python} cannot install the emulator: {said[-1] if said else error}"
            ) from None
        except subprocess.TimeoutExpired:
            raise NotToBeHadError(f"the emulator was not installed within {SECONDS} s") from None
