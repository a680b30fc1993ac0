"""What each key means, for the hover of an editor. One sentence or two each; docs/reference tells all.

They stand here and not in the models: every run makes the models, and none of them needs a description. A test
checks that no key is missing. A key of a model is described under the model or under one that it inherits from.
"""

from __future__ import annotations

DESCRIPTIONS: dict[str, dict[str, str]] = {
    "PipelineSpec": {
        "pipeline_id": "The name of the pipeline, and of its file.",
        "description": "For people: shown by `run-pipeline list`.",
        "stages": "Stages, one after the other. A pipeline has either `stages` or `jobs`.",
        "jobs": "Jobs and sub-pipelines by name, with their edges. A pipeline has either `jobs` or `stages`.",
        "stop_on_failure": "After a failed job nothing of this pipeline is started any more; what runs is let finish.",
        "max_workers": "How many jobs at once, for stages that do not say it. Default 1; flag and settings win.",
    },
    "StageSpec": {
        "name": "The name of the stage, once in a pipeline.",
        "jobs": "Jobs, or pipelines, which dissolve into their jobs. They are independent of each other.",
        "max_workers": "How many of them at once; with 1 they run in this order. Default: the pipeline's.",
    },
    "MemberSpec": {
        "needs": "Jobs that must succeed first; if one does not, this job is skipped.",
        "after": "Jobs that must have ended first, however.",
    },
    "JobSpec": {
        "job_id": "The name of the job, and of its file.",
        "description": "For people: shown by `run-pipeline list`.",
        "params": "Parameters by name. `{param: NAME}` stands for the value; `--set NAME=VALUE` gives one.",
        "queue": "One of [queues] in runner.toml: bounds how many jobs of its kind run at once.",
        "priority": "Of the jobs that wait in one queue, the greatest priority goes first.",
        "timeout": "Bounds the job's time; it fails then, category `timeout`. Default: the setting `timeouts.job`.",
        "steps": "What the job does, in order. All its writes land in one transaction.",
    },
    "ParamSpec": {
        "type": "The type of the value. A `path` is taken from the project folder and arrives absolute.",
        "default": "The value if none is given; without one, it must be given.",
        "description": "For people.",
    },
    "StepSpec": {
        "step_id": "The name of the step, once in a job.",
        "op": "What the step does; it decides which other keys there are.",
        "input": "An earlier step whose rows this one takes. Default: the step before.",
        "timeout": "Bounds the step's own time. Default: the setting `timeouts.step`.",
        "retries": "Further attempts of the job after a passing error in this step.",
    },
    "ExtractSpec": {
        "function": "A function of the project that gives rows. An extract has either `function` or `source`.",
        "source": "A source that the engine brings along. An extract has either `source` or `function`.",
        "resource": "What `source: dlt` iterates.",
        "with": "Arguments of the function or source.",
        "connection": "A [connections.NAME] of the settings; passed as `connection`.",
        "cursor": "The greatest value of a column, passed as `since`.",
        "identify": "A deterministic id made from columns.",
        "defaults": "Values of columns that a row does not have; a NULL stays.",
        "incremental": "Drops rows whose key the target has. Mode `not_exists` only.",
    },
    "ReadSpec": {
        "dataset": "The dataset (schema) of the table.",
        "table": "The table that is read.",
        "columns": "The columns to read. Default: all that are declared. Keys of an incremental read are added.",
        "filters": "Conditions that all must hold: `{column: value}`, or a list of `{column, op, value}`.",
        "incremental": "Which rows are new. Without it every run reads all.",
        "order_by": "Columns to order by, ascending.",
        "limit": "At most so many rows; the next run takes the next ones.",
    },
    "CallSpec": {
        "function": "A function of the project that takes rows or batches.",
        "with": "Its arguments besides the row or batch.",
        "connection": "A [connections.NAME] of the settings; passed as `connection`.",
        "runs_in": "A worker thread of the run, or worker processes on all cores.",
        "on_bad_row": "What becomes of a row that the function refuses: the step fails, or the row is put aside.",
        "max_bad_rows": "For `on_bad_row: quarantine`: more of them fail the step, and nothing lands.",
    },
    "WriteSpec": {
        "dataset": "The dataset (schema) of the table; not `ops`.",
        "table": "The table that is written.",
        "mode": "upsert: update rows of equal key, insert the rest. insert_missing: only insert. append: insert all."
        " replace: the table holds these rows and no others.",
        "key": "What makes a row the same row. Default: the table's key.",
        "set_on_insert": "Timestamp columns that get the job's start when a row is inserted.",
        "set_on_write": "Timestamp columns that get the job's start when a row is inserted or updated.",
        "commit_every": "Land after so many batches, instead of once at the end.",
        "on_bad_row": "What becomes of a row that does not fit the table: the step fails, or the row is put aside.",
        "max_bad_rows": "For `on_bad_row: quarantine`: more of them fail the step, and nothing lands.",
    },
    "SqlSpec": {
        "statement": "The statement, or one by engine. `:name` stands for a value of `params`.",
        "file": "A file with the statement, below the project, or one by engine.",
        "params": "Values by name; they are bound, never pasted.",
        "writes": "Tables that the statement changes, `dataset.table`. Without it, it is a query that gives rows.",
    },
    "CheckSpec": {
        "dataset": "The dataset of a table to check; without it, the rows on their way are checked.",
        "table": "The table to check.",
        "filters": "Only rows of the table that fit are checked.",
        "expect": "What must hold; all of it is checked.",
        "severity": "error: what is found fails the step, and nothing lands. warn: it is only told.",
    },
    "Expectation": {
        "not_null": "Columns without NULL.",
        "unique": "Columns that no two rows have in common; of a table.",
        "accepted": "A column that holds one of some values, or NULL.",
        "range": "A column whose values lie between two bounds, or are NULL.",
        "rows": "How many rows there are.",
        "fresh": "How old the greatest time of a column may be; of a table.",
        "expression": "A condition on one row, in the warehouse's SQL; NULL passes; of a table.",
        "severity": "error or warn, for this entry. Default: that of the step.",
    },
    "Accepted": {"column": "The column.", "values": "The values that it may hold; NULL is always accepted."},
    "Range": {
        "column": "The column.",
        "min": "The least value, included.",
        "max": "The greatest value, included.",
    },
    "Rows": {"min": "At least so many rows.", "max": "At most so many rows."},
    "Fresh": {
        "column": "A timestamp column.",
        "within": "Its greatest value is at most so long before the run's logical time.",
    },
    "Filter": {
        "column": "The column to compare; not of type json or bytes.",
        "op": "How to compare. `!=`, `>` and `>=` need quotes.",
        "value": "The value to compare with, of the column's type; for `in` a list. It is bound, never pasted.",
    },
    "Incremental": {
        "mode": "not_exists: rows without a counterpart in the target. left_anti: also those whose counterpart is"
        " older.",
        "target_dataset": "The dataset of the table to compare with.",
        "target_table": "The table to compare with.",
        "source_key": "Key columns of the rows that are read.",
        "target_key": "As many key columns, of the same types, in the target.",
        "source_ts": "For left_anti: the time of a source row.",
        "target_ts": "For left_anti: the time of a target row; older than the source's means read again.",
        "key_prefix": "The target's key is prefix + source key + suffix; one string key only.",
        "key_suffix": "The target's key is prefix + source key + suffix; one string key only.",
        "join_key_suffix": "Older spelling: `join_key_suffix: x` is `key_suffix: '#x'`.",
        "remember_empty": "A key that gave no row in the target is remembered and not read again.",
    },
    "Cursor": {
        "dataset": "The dataset of the table.",
        "table": "The table that holds the column.",
        "column": "The column whose greatest value is passed as `since` (none for an empty table).",
        "filters": "Only rows that fit count.",
        "by": "One greatest value for each value of this column.",
    },
    "Identify": {
        "column": "The column that gets the id.",
        "from": "Columns whose texts are joined by `:`.",
        "suffix": "Added as `#suffix`.",
    },
    "DatasetSpec": {
        "dataset": "The dataset (schema), and the first part of the file's name.",
        "description": "For people.",
        "tables": "Tables of the dataset; further files, such as `derived.more.yaml`, may declare others.",
    },
    "TableSpec": {
        "table": "The name of the table.",
        "description": "For people.",
        "columns": "Columns; their names differ by more than case.",
        "key": "The default key of writes.",
        "partition_by": "Partitioning by a date or timestamp column; DuckDB has none.",
        "cluster_by": "Clustering, up to 4 columns; DuckDB has none.",
        "indexes": "Indexes, on engines that have them.",
        "managed": "false: never created or altered; only the columns that are used need declaring.",
    },
    "ColumnSpec": {
        "name": "The name of the column.",
        "type": "The type of its values.",
        "required": "NULL is a bad row.",
        "description": "For people.",
    },
    "PartitionSpec": {
        "column": "A timestamp or date column.",
        "unit": "The length of a partition.",
    },
    "IndexSpec": {
        "columns": "The columns of the index.",
        "where": "A condition in SQL: a partial index.",
        "include": "Columns that are stored along with it.",
    },
    "Settings": {
        "package": "The Python package of the project's functions: a folder beside configs/.",
        "state_dir": "Where warehouse, runs and locks are, from the project. Default: $STATE_DIRECTORY, else var.",
        "max_workers": "Caps every run, and wins over pipelines and stages.",
        "batch_rows": "Rows that go through a job at once.",
        "stage_bytes": "Bytes of rows that a job stages in memory before they go to a temporary place.",
        "warehouse": "The warehouse.",
        "timeouts": "Upper bounds of times.",
        "retries": "The wait between attempts: random, up to base_delay doubled with every attempt.",
        "queues": "How many jobs of a queue run at once.",
        "processes": "Worker processes of a step that says `runs_in: process`. Default: as many as there are cores.",
        "notify": "Who is told when runs fail, recover, or do not come; by name of the receiver.",
        "connections": "What functions need to reach other systems. Keep secrets out of this file.",
    },
    "NotifySettings": {
        "kind": "webhook: a POST to `url`. command: a program that gets the message on stdin.",
        "url": "The address of a webhook; better in the environment or a secret file, if who knows it may write.",
        "headers": "Headers of the request, such as Authorization.",
        "format": "json: the whole message. slack: a text, as Slack's incoming webhooks take it.",
        "command": "The program and its arguments.",
        "on": "Which events it is told of.",
        "names": "Of which pipelines and jobs; none: of all that are run.",
        "late_after": "By name: how long after its last success a pipeline or job is late.",
        "timeout": "How long a message may take; at most 60s.",
    },
    "DuckDBSettings": {
        "kind": "The engine; it decides which other keys there are.",
        "path": "The DuckDB file, relative to state_dir.",
        "memory_limit": "Bounds DuckDB's own buffers: 500MB, 2GB, 1GiB.",
        "threads": "DuckDB's threads. Default: as many as it finds processors.",
        "temp_directory": "Where DuckDB spills, relative to state_dir.",
        "max_connections": "Statements at once.",
    },
    "PostgresSettings": {
        "kind": "The engine; it decides which other keys there are.",
        "dsn": "Where the server is: connection text or URI of libpq. PGHOST and the like fill in what it leaves out.",
        "password": "Better in the environment or a secret file.",
        "max_connections": "Connections at once.",
        "connect_timeout": "How long a connection may take.",
        "idle_in_transaction_timeout": "The server ends a transaction in which nothing happens for so long.",
        "check_interval": "How often the server looks whether the client of a running query is still there.",
    },
    "BigQuerySettings": {
        "kind": "The engine; it decides which other keys there are.",
        "project": "Pays for the jobs and holds the datasets. Default: the one of the credentials.",
        "location": "Where the datasets are: EU, US, europe-west1.",
        "credentials_file": "The key of a service account. Default: Google's application default credentials.",
        "endpoint": "Another server, such as an emulator; it is asked without credentials.",
        "storage_endpoint": "The Storage Read API of that other server.",
        "staging_dataset": "The dataset of staging tables.",
        "staging_expiration": "When a staging table expires that no landing has removed.",
        "maximum_bytes_billed": "A query that would bill more bytes is refused.",
        "priority": "interactive: at once. batch: when slots are free.",
        "storage_api_rows": "Results of at least so many rows come over the Storage Read API.",
        "max_connections": "Jobs of BigQuery that are worked on at once.",
    },
    "TimeoutSettings": {
        "query": "Of one statement.",
        "step": "Of a step's own time, for steps that state none.",
        "job": "Of a job, for jobs that state none.",
        "run": "Of a run; exit code 124.",
        "grace": "How long Python code may take to stop after a cancellation.",
    },
    "RetrySettings": {
        "base_delay": "The longest first wait.",
        "max_delay": "The longest wait of all.",
    },
}


def description_of(model: type, key: str) -> str:
    """Return what `key` of a model means, as its file spells it (`with`, not `with_`); "" if nobody said."""
    for cls in model.__mro__:
        if text := DESCRIPTIONS.get(cls.__name__, {}).get(key):
            return text
    return ""
