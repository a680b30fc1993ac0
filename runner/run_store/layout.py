"""Names and forms of the files of one run, shared by those who write and those who read them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from runner.ids import ulid_ms
from runner.jsonl import dumps
from runner.records import PipelineRun, Status

EVENTS = "events.jsonl"
SUMMARY = "run.json"
JOBS = "jobs"

_JOBS_MEMBER = '\n  "jobs": ['
"""Where the jobs begin in `run.json`: nothing below the top level has this newline and indent."""

_STATUS = re.compile(rb'\n  "status": "([a-z]+)"')
"""The status of the run: those of its jobs stand further in."""
_UNSURE = (b"running", b"failed", b"succeeded")
"""What may have crashed, and words of old records."""


def day_of(moment: datetime) -> str:
    """Return the name of the folder for runs that started at `moment`: its day in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d")


def folder_name(run_id: str, name: str) -> str:
    """Return the name of a run's folder."""
    return f"{run_id}-{name}"


def id_of(path: Path) -> str:
    """Return the run id in a run's folder name."""
    return path.name[:26]


def name_of(path: Path) -> str:
    """Return the name of the pipeline or job in a run's folder name."""
    return path.name[27:]


def time_of(run_id: str) -> datetime:
    """Return the time, UTC, at which a run id was made."""
    return datetime.fromtimestamp(ulid_ms(run_id) / 1000, UTC)


def encode_summary(run: PipelineRun, jobs: Sequence[str]) -> bytes:
    """Return `run.json`: a member a line, a job a line, and last what goes with the jobs: lists need only the head.

    `jobs` are the records of `run.jobs` as JSON text.
    """
    head = json.dumps(json.loads(dumps(run.to_dict(jobs=False))), indent=2).removesuffix("\n}")
    lines = ",".join(f"\n    {job}" for job in jobs) + "\n  " if jobs else ""
    return f'{head},{_JOBS_MEMBER}{lines}],\n  "barriers": {dumps(run.barriers)}\n}}\n'.encode("ascii")


def has_head(content: bytes) -> bool:
    """Tell whether the beginning of a `run.json` reaches as far as its jobs."""
    return _JOBS_MEMBER.encode("ascii") in content


def tells_other_status(content: bytes, status: Status) -> bool:
    """Tell whether a `run.json`, or its head, is of a run that has ended, and in another way. False: it may be."""
    found = _STATUS.search(content)
    return found is not None and found[1] not in (status.value.encode("ascii"), *_UNSURE)


def decode_summary(content: bytes, *, jobs: bool) -> PipelineRun:
    """Read `run.json`, or without `jobs` only what stands before them.

    Raises `LookupError`, `ValueError`, `TypeError` or `AttributeError` for what is none.
    """
    head, found, _ = content.partition(_JOBS_MEMBER.encode("ascii"))
    return PipelineRun.from_dict(json.loads(content if jobs or not found else head.rstrip(b",") + b"\n}"))
