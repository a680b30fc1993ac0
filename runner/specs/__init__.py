"""What a project's YAML declares, as frozen models.

The loader has already resolved parameters (`{param: NAME}`) when it builds these, so every value here is the
value that will be used. Positions in files are the loader's business; a model only says what is wrong.
"""

from runner.specs.expectations import KINDS as EXPECTATIONS
from runner.specs.expectations import Expectation
from runner.specs.incremental import Incremental, Lookback
from runner.specs.names import (
    COLUMN_TYPES,
    ENGINE_DATASET,
    PARAM_TYPES,
    ColumnType,
    Duration,
    Id,
    Identifier,
    Misfit,
    Spec,
    TableRef,
    Workers,
    check_id,
    check_identifier,
    parse_duration,
)
from runner.specs.pipelines import JobSpec, MemberSpec, ParamSpec, PipelineSpec, StageSpec
from runner.specs.plan import Barrier, PlannedJob, PlannedStage, RunPlan, SqlText
from runner.specs.steps import (
    SOURCES,
    STEP_OPS,
    CallSpec,
    CheckSpec,
    Cursor,
    ExtractSpec,
    Filter,
    Identify,
    ReadSpec,
    SqlSpec,
    Step,
    StepSpec,
    WriteSpec,
)
from runner.specs.tables import ColumnSpec, DatasetSpec, IndexSpec, PartitionSpec, TableSpec

__all__ = [
    "COLUMN_TYPES", "ENGINE_DATASET", "EXPECTATIONS", "PARAM_TYPES", "SOURCES", "STEP_OPS", "Barrier",
    "CallSpec", "CheckSpec", "ColumnSpec", "ColumnType", "Cursor", "DatasetSpec", "Duration",
    "Expectation", "ExtractSpec", "Filter", "Id", "Identifier", "Identify", "Incremental", "IndexSpec",
    "JobSpec", "Lookback", "MemberSpec", "Misfit", "ParamSpec", "PartitionSpec", "PipelineSpec", "PlannedJob",
    "PlannedStage", "ReadSpec", "RunPlan", "Spec", "SqlSpec", "SqlText", "StageSpec", "Step", "StepSpec", "TableRef",
    "TableSpec", "Workers", "WriteSpec", "check_id", "check_identifier", "parse_duration",
]  # fmt: skip
