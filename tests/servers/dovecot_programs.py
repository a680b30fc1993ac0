"""Where Dovecot comes from: the system, or Debian's packages, unpacked where they touch nothing.

The packages are fetched once, by apt, into `var/cache/dovecot`; neither root nor an installation is needed. Their
programs have the folder /usr/lib/dovecot compiled in, for libraries and plug-ins: it is rewritten to a folder whose
path is of the same length.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).parents[2] / "var" / "cache" / "dovecot"
"""Outside of version control."""

BUILT_FOR = b"/usr/lib/dovecot"
SECONDS = 90
"""For all of apt's work at once."""


class NoDovecotError(Exception):
    """It is not installed, and cannot be fetched; the text says why."""


@dataclass(frozen=True)
class Programs:
    """The server, and what reads its configuration. `folder`: where they were unpacked, None for the system's."""

    dovecot: Path
    doveconf: Path
    folder: Path | None = None

    def remove(self) -> None:
        """Remove what was unpacked."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def find_programs() -> Programs:
    """Return the installed programs, or unpack the packages. Raises `NoDovecotError`."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    dovecot, doveconf = (shutil.which(name, path=path) for name in ("dovecot", "doveconf"))
    if (
        dovecot
        and doveconf
        and any(Path(f"{base}/lib/dovecot/imap").exists() for base in ("/usr", "/usr/local"))
    ):
        return Programs(Path(dovecot), Path(doveconf))
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise NoDovecotError(f"Dovecot is not installed, and there is no {tool} to fetch it with")
    return _unpack(_packages())


def _packages() -> list[Path]:
    """Return the packages, from the cache or fresh from the archive; one process at a time fetches them."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = CACHE / "packages"
        if not kept.is_dir():
            try:
                _fetch()
            except subprocess.CalledProcessError as error:
                said = (error.stderr or b"").decode(errors="replace").strip().splitlines()
                raise NoDovecotError(
                    f"apt cannot fetch dovecot-imapd: {said[-1] if said else error}"
                ) from None
            except subprocess.TimeoutExpired:
                raise NoDovecotError(f"apt did not fetch dovecot-imapd within {SECONDS} s") from None
            (CACHE / "archives").rename(kept)
        return sorted(kept.glob("*.deb"))


def _fetch() -> None:
    """Download dovecot-imapd and what it needs that is not installed; with lists of our own if the system's are old."""
    archives = CACHE / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    (CACHE / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    caches = [f"Dir::Cache::{name}={CACHE / name}.bin" for name in ("pkgcache", "srcpkgcache")]
    common = [f"Dir::Cache::archives={archives}", *caches, "Debug::NoLocking=1", "APT::Sandbox::User="]
    own = [*common, f"Dir::State::lists={CACHE / 'lists'}"]
    download = ["install", "--download-only", "--yes", "--no-install-recommends", "dovecot-imapd"]
    try:
        _apt(common, download)
    except subprocess.CalledProcessError:
        _apt(own, ["update"])
        _apt(own, download)
    finally:
        shutil.rmtree(CACHE / "lists")


def _apt(options: list[str], command: list[str]) -> None:
    given = [word for option in options for word in ("-o", option)]
    subprocess.run(["apt-get", "-q", *given, *command], check=True, capture_output=True, timeout=SECONDS)


def _unpack(packages: list[Path]) -> Programs:
    folder = Path(tempfile.mkdtemp(prefix="dc-", dir="/tmp"))
    if len(os.fsencode(folder)) != len(BUILT_FOR):
        raise NoDovecotError(f"{folder} is not as long as {BUILT_FOR.decode()}")
    folder.chmod(0o755)
    root = folder / "root"
    for package in packages:
        subprocess.run(["dpkg-deb", "-x", package, root], check=True, capture_output=True)
    programs = [root / "usr/sbin/dovecot", root / "usr/bin/doveconf"]
    libraries = [file for file in root.glob("usr/lib/*/*.so*") if file.parent.name != "dovecot"]
    for file in [*(root / "usr/lib/dovecot").iterdir(), *libraries, *programs]:
        name = f"{file.name}-program" if file in programs else file.name
        os.rename(file, folder / name)
    shutil.rmtree(root)
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink() and BUILT_FOR in (content := file.read_bytes()):
            file.write_bytes(content.replace(BUILT_FOR, os.fsencode(folder)))
    return Programs(folder / "dovecot-program", folder / "doveconf-program", folder)
