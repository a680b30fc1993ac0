"""Debian's packages without installing them: fetched by apt into a folder of the cache, unpacked by dpkg-deb.

Neither root nor an installation is needed.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.servers.places import locked

SECONDS = 90
"""For one piece of apt's work."""


class NotToBeHadError(Exception):
    """A server is not installed, and cannot be fetched; the text says why."""


def fetched(package: str, cache: Path) -> list[Path]:
    """Return a package and what it needs that is not installed, from `cache` or fresh from the archive.

    One process at a time fetches them. Raises `NotToBeHadError`.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise NotToBeHadError(f"{package} is not installed, and there is no {tool} to fetch it with")
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock"):
        kept = cache / "packages"
        if not kept.is_dir():
            try:
                _fetch(package, cache)
            except subprocess.CalledProcessError as error:
                said = (error.stderr or b"").decode(errors="replace").strip().splitlines()
                raise NotToBeHadError(f"apt cannot fetch {package}: {said[-1] if said else error}") from None
            except subprocess.TimeoutExpired:
                raise NotToBeHadError(f"apt did not fetch {package} within {SECONDS} s") from None
            (cache / "archives").rename(kept)
        return sorted(kept.glob("*.deb"))


def unpack(package: Path, folder: Path) -> None:
    """Unpack one package into a folder, which is made."""
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True, capture_output=True)


def _fetch(package: str, cache: Path) -> None:
    """Download a package and what it needs; with lists of our own if the system's are old."""
    archives = cache / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    (cache / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    caches = [f"Dir::Cache::{name}={cache / name}.bin" for name in ("pkgcache", "srcpkgcache")]
    common = [f"Dir::Cache::archives={archives}", *caches, "Debug::NoLocking=1", "APT::Sandbox::User="]
    own = [*common, f"Dir::State::lists={cache / 'lists'}"]
    download = ["install", "--download-only", "--yes", "--no-install-recommends", package]
    try:
        _apt(common, download)
    except subprocess.CalledProcessError:
        _apt(own, ["update"])
        _apt(own, download)
    finally:
        shutil.rmtree(cache / "lists")


def _apt(options: list[str], command: list[str]) -> None:
    given = [word for option in options for word in ("-o", option)]
    subprocess.run(["apt-get", "-q", *given, *command], check=True, capture_output=True, timeout=SECONDS)
