"""One environment a peer, below the cache folder, from the exact versions in `peers/PEER/environment.txt`.

The texts hold versions only; where packages come from is pip's own configuration. What cannot be installed is a reason
for the table, not an end of the comparison.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness import PYTHON

PEERS = Path(__file__).resolve().parent / "peers"


class NotInstalledError(Exception):
    """Pip could not install a peer; the text is the last thing that it said."""


def environment(peer: str) -> Path:
    """Return the folder of a peer's environment, made unless it is there already with these versions."""
    wanted = (PEERS / peer / "environment.txt").read_text()
    folder = _cache() / peer
    stamp = folder / "environment.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([PYTHON, "-m", "venv", "--clear", folder], check=True)
        done = subprocess.run(
            [folder / "bin" / "pip", "install", "--quiet", "--requirement", PEERS / peer / "environment.txt"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NotInstalledError(done.stderr.strip().splitlines()[-1])
        stamp.write_text(wanted)
    return folder


def versions(peer: str) -> dict[str, str]:
    """Return the versions of a peer's environment by distribution."""
    lines = (PEERS / peer / "environment.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines)


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "run-pipeline" / "peers"
