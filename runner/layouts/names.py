"""Names of what is made beside a table: the next optimize finds it by them, so they follow from the declaration."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from runner.specs import IndexSpec, TableRef
from runner.sql import Dialect

_TIME = "%Y%m%dt%H%M%S"
_BACKUP = "__backup_"
_BUILDING = "__optimize"
_READY = "__optimized"
_TIME_LENGTH = len("20260212t060000")
_IN_BACKUP = re.compile(r"\d{8}t\d{6}")
_OWN_INDEX = re.compile(r"\w+_rp_[0-9a-f]{8}", re.ASCII)
_DIGEST_LENGTH = 8


def backup_ref(ref: TableRef, stamp: datetime, dialect: Dialect) -> TableRef:
    """Return the name of a copy of a table that was made at this time: `orders__backup_20260212t060000` (UTC)."""
    text = stamp.astimezone(UTC).strftime(_TIME)
    return TableRef(ref.dataset, _backup_prefix(ref, dialect) + text)


def backups_among(names: Iterable[str], ref: TableRef, dialect: Dialect) -> list[TableRef]:
    """Return those tables of the dataset that are backups of this one, oldest first."""
    prefix = _backup_prefix(ref, dialect)
    found = (name for name in names if name.startswith(prefix) and _IN_BACKUP.fullmatch(name[len(prefix) :]))
    return [TableRef(ref.dataset, name) for name in sorted(found)]


def building_ref(ref: TableRef, dialect: Dialect) -> TableRef:
    """Return the name under which a table is made anew."""
    return TableRef(ref.dataset, _cut(ref.table, dialect.name_length - len(_BUILDING)) + _BUILDING)


def ready_ref(ref: TableRef, dialect: Dialect) -> TableRef:
    """Return the name of a table that was made anew, once it is known to hold the same rows."""
    return TableRef(ref.dataset, _cut(ref.table, dialect.name_length - len(_READY)) + _READY)


def index_name(ref: TableRef, index: IndexSpec, dialect: Dialect) -> str:
    """Return the name of an index that is made here: table and columns for people, and a digest of what it is."""
    what = json.dumps([str(ref), index.columns, index.include, " ".join(index.where.split())])
    ending = f"_rp_{_digest(what)}"
    return "_".join([ref.table, *index.columns])[: dialect.name_length - len(ending)] + ending


def is_own_index(name: str) -> bool:
    """Tell whether `index_name` has made this name."""
    return _OWN_INDEX.fullmatch(name) is not None


def drop_statement(ref: TableRef, dialect: Dialect) -> str:
    """Return the statement that removes a table."""
    return f"DROP TABLE {dialect.qualified(ref)}"


def _backup_prefix(ref: TableRef, dialect: Dialect) -> str:
    return _cut(ref.table, dialect.name_length - len(_BACKUP) - _TIME_LENGTH) + _BACKUP


def _cut(name: str, length: int) -> str:
    """Return a name of at most so many characters; of two long names that begin alike the results differ."""
    return name if len(name) <= length else f"{name[: length - _DIGEST_LENGTH - 1]}_{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
