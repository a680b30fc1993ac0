"""Where Dovecot comes from: the system, or Debian's packages, unpacked where they touch nothing.

The packages are fetched once, by apt, into `var/cache/dovecot`; neither root nor an installation is needed. Their
programs have the folder /usr/lib/dovecot compiled in, for libraries and plug-ins: it is rewritten to a folder whose
path is of the same length.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.servers.debian_packages import NotToBeHadError, fetched, unpack

CACHE = Path(__file__).parents[2] / "var" / "cache" / "dovecot"
"""Outside of version control."""

BUILT_FOR = b"/usr/lib/dovecot"


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
    """Return the installed programs, or unpack the packages. Raises `NotToBeHadError`."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    dovecot, doveconf = (shutil.which(name, path=path) for name in ("dovecot", "doveconf"))
    if (
        dovecot
        and doveconf
        and any(Path(f"{base}/lib/dovecot/imap").exists() for base in ("/usr", "/usr/local"))
    ):
        return Programs(Path(dovecot), Path(doveconf))
    return _unpack(fetched("dovecot-imapd", CACHE))


def _unpack(packages: list[Path]) -> Programs:
    folder = Path(tempfile.mkdtemp(prefix="dc-", dir="/tmp"))
    if len(os.fsencode(folder)) != len(BUILT_FOR):
        raise NotToBeHadError(f"{folder} is not as long as {BUILT_FOR.decode()}")
    folder.chmod(0o755)
    root = folder / "root"
    for package in packages:
        unpack(package, root)
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
