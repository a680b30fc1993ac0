"""What a run leaves behind: PipelineRun > RunRecord (one a job) > StepTiming, PerformanceIndicators.

Plain data: they neither render nor store themselves. `to_dict` gives JSON-ready values (times as RFC 3339
text), `from_dict` reads them back, and reads records of older versions: unknown keys are ignored, missing
ones take their default.

    reading    statuses, and what reads old records       timings    StepTiming, PerformanceIndicators, StepRegression
    notes      ErrorInfo, WarningInfo                     jobs       RunRecord
    runs       PipelineRun, and how the outcome of a run follows from those of its jobs
"""

from runner.records.jobs import RunRecord
from runner.records.notes import ErrorInfo, WarningInfo
from runner.records.reading import Status
from runner.records.runs import PIPELINE_RUN_SCHEMA, PipelineRun, Totals, run_status
from runner.records.timings import PerformanceIndicators, StepRegression, StepTiming

__all__ = [
    "PIPELINE_RUN_SCHEMA",
    "ErrorInfo",
    "PerformanceIndicators",
    "PipelineRun",
    "RunRecord",
    "Status",
    "StepRegression",
    "StepTiming",
    "Totals",
    "WarningInfo",
    "run_status",
]
