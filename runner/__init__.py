"""run-pipeline: small, frequent, incremental warehouse loads without a scheduler service.

    async with PipelineRunner.open(Settings.load("path/of/project")) as pipelines:
        run = await pipelines.run("daily", max_workers=4)
        run.raise_for_status()

`run_pipeline` and `run_job` do the same from synchronous code. Names are imported when they are first used,
so that a function module that only wants `Row` for its annotations costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.errors import (
        AuthenticationFailed,
        BadRows,
        CheckFailed,
        ConfigurationError,
        CostLimitExceeded,
        DamagedRecord,
        DiskFull,
        FunctionFailed,
        HeldByAnother,
        ObjectNotFound,
        PermissionDenied,
        Problem,
        QuotaExceeded,
        ResourceExhausted,
        RunFailed,
        RunNotFound,
        RunPipelineError,
        SourceBusy,
        SourceDenied,
        SourceError,
        SourceUnavailable,
        TableMismatch,
        TimeLimitExceeded,
        UncleanCancel,
        UsageError,
        WarehouseError,
        WarehouseTimeLimit,
        WarehouseUnavailable,
        WorkerFailed,
        WriteConflict,
    )
    from runner.events import (
        Event,
        JobFinished,
        JobPerformance,
        JobRetrying,
        JobStarted,
        Landed,
        Noticed,
        PipelineFinished,
        RunFinished,
        RunStarted,
        StagePerformance,
        StepFinished,
        StepProgress,
    )
    from runner.pipeline_runner import PipelineRunner, query_event_log, run_job, run_pipeline
    from runner.ports import Release, Row
    from runner.records import (
        ErrorInfo,
        PerformanceIndicators,
        PipelineRun,
        RunRecord,
        Status,
        StepRegression,
        StepTiming,
    )
    from runner.settings import Connection, Settings
    from runner.specs import Filter

__all__ = [
    "AuthenticationFailed",
    "BadRows",
    "CheckFailed",
    "ConfigurationError",
    "Connection",
    "CostLimitExceeded",
    "DamagedRecord",
    "DiskFull",
    "ErrorInfo",
    "Event",
    "Filter",
    "FunctionFailed",
    "HeldByAnother",
    "JobFinished",
    "JobPerformance",
    "JobRetrying",
    "JobStarted",
    "Landed",
    "Noticed",
    "ObjectNotFound",
    "PerformanceIndicators",
    "PermissionDenied",
    "PipelineFinished",
    "PipelineRun",
    "PipelineRunner",
    "Problem",
    "QuotaExceeded",
    "Release",
    "ResourceExhausted",
    "Row",
    "RunFailed",
    "RunFinished",
    "RunNotFound",
    "RunPipelineError",
    "RunRecord",
    "RunStarted",
    "Settings",
    "SourceBusy",
    "SourceDenied",
    "SourceError",
    "SourceUnavailable",
    "StagePerformance",
    "Status",
    "StepFinished",
    "StepProgress",
    "StepRegression",
    "StepTiming",
    "TableMismatch",
    "TimeLimitExceeded",
    "UncleanCancel",
    "UsageError",
    "WarehouseError",
    "WarehouseTimeLimit",
    "WarehouseUnavailable",
    "WorkerFailed",
    "WriteConflict",
    "query_event_log",
    "run_job",
    "run_pipeline",
]

_HOME = {
    "runner.errors": (
        "AuthenticationFailed", "BadRows", "CheckFailed", "ConfigurationError", "CostLimitExceeded",
        "DamagedRecord", "DiskFull", "FunctionFailed", "HeldByAnother", "ObjectNotFound", "PermissionDenied",
        "Problem", "QuotaExceeded", "ResourceExhausted", "RunFailed", "RunNotFound", "RunPipelineError",
        "SourceBusy", "SourceDenied", "SourceError", "SourceUnavailable", "TableMismatch",
        "TimeLimitExceeded", "UncleanCancel", "UsageError", "WarehouseError", "WarehouseTimeLimit",
        "WarehouseUnavailable", "WorkerFailed", "WriteConflict",
    ),
    "runner.events": (
        "Event", "JobFinished", "JobPerformance", "JobRetrying", "JobStarted", "Landed", "Noticed", "PipelineFinished",
        "RunFinished", "RunStarted", "StagePerformance", "StepFinished", "StepProgress",
    ),
    "runner.pipeline_runner": ("PipelineRunner", "query_event_log", "run_job", "run_pipeline"),
    "runner.ports": ("Release", "Row"),
    "runner.records": (
        "ErrorInfo", "PerformanceIndicators", "PipelineRun", "RunRecord", "Status", "StepRegression", "StepTiming",
    ),
    "runner.settings": ("Connection", "Settings"),
    "runner.specs": ("Filter",),
}  # fmt: skip
"""Where each public name is defined."""


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    for module, names in _HOME.items():
        if name in names:
            import importlib

            value = getattr(importlib.import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, also those that are not imported yet."""
    return sorted({*globals(), *__all__})
