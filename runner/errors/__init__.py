"""Everything the engine raises on purpose.

    RunPipelineError
    ├── ConfigurationError      one or more `Problem`s, each with file:line:column     config        exit 2
    ├── UsageError              the command line or an API call was wrong              config        exit 2
    ├── HeldByAnother           a lock is held by another runner                       locked        exit 75
    ├── TimeLimitExceeded       a query, step, job or run took longer than it may      timeout
    ├── FunctionFailed          a project's function raised                            function
    ├── WorkerFailed            a worker process did not start, or ended too early     resource
    ├── BadRows                 rows that cannot be written, more than allowed         data
    ├── CheckFailed             rows or a table are not as a check expects             data
    ├── WarehouseError          what a warehouse said                                  query
    │   ├── WarehouseUnavailable                                                       unavailable   retry
    │   ├── WarehouseTimeLimit  it ended work at a time limit of its own               timeout
    │   ├── WriteConflict                                                              conflict      retry
    │   ├── AuthenticationFailed                                                       auth
    │   │   └── PermissionDenied                                                       auth
    │   ├── QuotaExceeded       a rate limit or a quota                                quota         retry
    │   ├── ObjectNotFound      a table, dataset, database, project                    not_found
    │   ├── CostLimitExceeded   the query would bill more bytes than it may            cost
    │   ├── ResourceExhausted   out of memory                                          resource
    │   └── DiskFull                                                                   disk_full
    ├── SourceError             what a source outside answered (mail server, HTTP API) source
    │   ├── SourceUnavailable                                                          unavailable   retry
    │   ├── SourceDenied        it does not know us, or does not let us                auth
    │   └── SourceBusy          a rate limit that did not end in time                  quota         retry
    ├── TableMismatch           a table is not what its declaration says               config
    ├── RunNotFound, DamagedRecord                                                     not_found, damaged
    ├── UncleanCancel           a function kept running past its grace period          cancelled
    └── RunFailed               raised by `PipelineRun.raise_for_status`               as its first failure

`category` is a stable word: it stands in records, events and exit codes. `retryable` says whether the same
call may succeed a moment later, `retry_after` how long to wait before where somebody told; what is unknown is
terminal. Errors carry fields and make their text from them.

    engine      the root, and what the engine itself says      functions   of functions, processes and rows
    answers     of warehouses and sources                      judging     category, retry, near names
"""

from __future__ import annotations

from runner.errors.answers import (
    AuthenticationFailed,
    CostLimitExceeded,
    DiskFull,
    ObjectNotFound,
    PermissionDenied,
    QuotaExceeded,
    ResourceExhausted,
    SourceBusy,
    SourceDenied,
    SourceError,
    SourceUnavailable,
    WarehouseError,
    WarehouseTimeLimit,
    WarehouseUnavailable,
    WriteConflict,
)
from runner.errors.engine import (
    ConfigurationError,
    DamagedRecord,
    HeldByAnother,
    Problem,
    RunFailed,
    RunNotFound,
    RunPipelineError,
    TableMismatch,
    TimeLimitExceeded,
    UncleanCancel,
    UsageError,
)
from runner.errors.functions import (
    BadRows,
    CheckFailed,
    FunctionFailed,
    WorkerFailed,
    text_of,
)
from runner.errors.judging import (
    category_of,
    did_you_mean,
    is_retryable,
)

__all__ = [
    "AuthenticationFailed", "BadRows", "CheckFailed", "ConfigurationError", "CostLimitExceeded",
    "DamagedRecord", "DiskFull", "FunctionFailed", "HeldByAnother", "ObjectNotFound", "PermissionDenied",
    "Problem", "QuotaExceeded", "ResourceExhausted", "RunFailed", "RunNotFound", "RunPipelineError",
    "SourceBusy", "SourceDenied", "SourceError", "SourceUnavailable", "TableMismatch", "TimeLimitExceeded",
    "UncleanCancel", "UsageError", "WarehouseError", "WarehouseTimeLimit", "WarehouseUnavailable", "WorkerFailed",
    "WriteConflict", "category_of", "did_you_mean", "is_retryable", "text_of",
]  # fmt: skip
