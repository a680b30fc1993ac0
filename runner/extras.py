"""How the client of a source or a warehouse is installed into the Python that runs the engine."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec


def install_command(*distributions: str) -> str:
    """Return the shell command that adds `distributions` to this Python: by pip, or by uv where there is no pip.

    It names distributions and not the extra `run-pipeline[...]`: a clone is not what an index would give.
    """
    if find_spec("pip"):
        return shlex.join([sys.executable, "-m", "pip", "install", *distributions])
    return shlex.join(["uv", "pip", "install", "--python", sys.executable, *distributions])
