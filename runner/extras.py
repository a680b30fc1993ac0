"""How the client of a source is installed into the Python that runs the engine."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec


def install_command(distribution: str) -> str:
    """Return the shell command that adds `distribution` to this Python: by pip, or by uv where there is no pip.

    It names the distribution and not the extra `run-pipeline[...]`: a clone is not what an index would give.
    """
    if find_spec("pip"):
        return shlex.join([sys.executable, "-m", "pip", "install", distribution])
    return shlex.join(["uv", "pip", "install", "--python", sys.executable, distribution])
