"""Names of jobs: ids that are known before a job is sent, and labels by which it is found in the bill."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict

from runner.ids import new_ulid
from runner.ports import QueryScope

_PREFIX = "run-pipeline"
_SCOPES = 10_000
"""Scopes whose statements are counted at a time; a step is over long before so many others have begun."""

_NOT_IN_ID = re.compile(r"[^A-Za-z0-9_-]")
_NOT_IN_LABEL = re.compile(r"[^a-z0-9_-]")
ID_LENGTH = 1024
LABEL_LENGTH = 63


class StatementNumbers:
    """Counts the jobs of each attempt of a step, from 1, in whichever thread they are sent."""

    def __init__(self) -> None:
        self._counted: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def next(self, prefix: str) -> int:
        """Return the number of the next job with this prefix."""
        with self._lock:
            number = self._counted.pop(prefix, 0) + 1
            self._counted[prefix] = number
            if len(self._counted) > _SCOPES:
                self._counted.popitem(last=False)
            return number


class JobNames:
    """Names the jobs of one scope; None: of nobody in particular (metadata, the event log)."""

    def __init__(self, scope: QueryScope | None, numbers: StatementNumbers) -> None:
        self.scope = scope
        self._numbers = numbers

    def next_id(self) -> str:
        """Return the id of the next job: letters, digits, `_` and `-`, at most 1,024 characters (the service's rule).

        Of a scope it says run, job run, step, attempt and statement: the same work of the same attempt has the same id
        in whichever order its answers come.
        """
        if self.scope is None:
            return f"{_PREFIX}-{new_ulid()}"
        scope = self.scope
        parts = (_PREFIX, scope.run_id, scope.job_run_id, scope.step_id, str(scope.attempt))
        prefix = _NOT_IN_ID.sub("_", "-".join(parts))[: ID_LENGTH - 20]
        return f"{prefix}-{self._numbers.next(prefix)}"

    @property
    def owner(self) -> str:
        """The job run whose jobs these are, "" for nobody's."""
        return "" if self.scope is None else self.scope.job_run_id

    @property
    def labels(self) -> dict[str, str]:
        """Labels pipeline, job, step and run as the service takes them: at most 63 of a-z, 0-9, `_` and `-`."""
        if self.scope is None:
            return {"tool": _PREFIX}
        scope = self.scope
        named = {
            "pipeline": scope.pipeline_id,
            "job": scope.job_id,
            "step": scope.step_id,
            "run": scope.run_id,
        }
        return {"tool": _PREFIX} | {name: _label(value) for name, value in named.items()}


def _label(value: str) -> str:
    return _NOT_IN_LABEL.sub("_", value.lower())[:LABEL_LENGTH]
