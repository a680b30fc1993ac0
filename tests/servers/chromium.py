"""Where headless Chromium comes from: the system, or Debian's package, unpacked into the cache."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from tests.servers.debian_packages import NotToBeHadError, fetched, unpack
from tests.servers.places import cache_folder, locked

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Chromium:
    """The program, and where its libraries are if they are not the system's."""

    program: str
    libraries: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """The environment that it is started with."""
        return {**os.environ, **({"LD_LIBRARY_PATH": self.libraries} if self.libraries else {})}


def find_chromium() -> Chromium:
    """Return the installed browser, or fetch and unpack Debian's (once; 20 s). Raises `NotToBeHadError`."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found:
        return Chromium(found)
    cache = cache_folder() / "chromium"
    packages = fetched("chromium", cache)
    root = cache / "root"
    with locked(cache / "unpacking"):
        if not root.is_dir():
            partial = cache / "partial"
            shutil.rmtree(partial, ignore_errors=True)
            for package in packages:
                unpack(package, partial)
            partial.rename(root)
    program = root / "usr/lib/chromium/chromium"
    if not program.exists():
        raise NotToBeHadError(f"Debian's package has no {program.relative_to(root)}")
    libraries = sorted({file.parent for file in root.rglob("lib*.so*")})
    return Chromium(str(program), ":".join(map(str, libraries)))
