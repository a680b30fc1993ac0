"""What each side of `compare.py` is told to do. Words in braces are filled in: programs, folder, day of new rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

JOBS = 20

Words = Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A program and its commands in its own best form for small runs.

    `prepare` stands for `scores` and `nothing` where the first run is another command. `files`: of the jobs that do
    nothing, `idle_without`: a folder that their project does not have. `works`: its tasks call by_hand/work.py.
    `form` says for the table how the work is done. `shown`: what is named of an environment of its own.
    """

    name: str
    title: str
    shown: tuple[str, ...] = ()
    scores: Words
    nothing: Words = ()
    prepare: Words = ()
    help: Words = ()
    list: Words = ()
    table: str = "derived.scores"
    works: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    idle_without: str = ""
    form: str = ""


def _numbered(path: str, text: str) -> dict[str, str]:
    return {path.format(n=f"{n:02}"): text.replace("{n}", f"{n:02}") for n in range(JOBS)}


_JOB = "job_id: nothing_{n}\nsteps:\n  - {step_id: nothing, op: extract, function: 'jobs.scoring:nothing'}\n"
_NAMES = ", ".join(f"nothing_{n:02}" for n in range(JOBS))
_PIPELINE = f"pipeline_id: nothing\nmax_workers: 4\nstages: [{{name: all, jobs: [{_NAMES}]}}]\n"
_MODEL = "MODEL (name nothing.nothing_{n}, kind FULL, cron '@daily', start FIRST_DAY);\nSELECT 1 AS one\n"

OURS = Side(
    name="run_pipeline",
    title="run-pipeline",
    scores=["{ours}", "--project", ".", "-q", "scores"],
    nothing=["{ours}", "--project", ".", "-q", "nothing"],
    help=["{ours}", "--help"],
    list=["{ours}", "--project", ".", "list"],
    files=_numbered("configs/jobs/nothing_{n}.yaml", _JOB) | {"configs/pipelines/nothing.yaml": _PIPELINE},
    form="read `not_exists`, a Python function for each row, `upsert`; 20 jobs with 4 workers",
)
OURS_IN_SQL = Side(
    name="run_pipeline",
    title="run-pipeline, in SQL",
    scores=["{ours}", "--project", ".", "-q", "scores_in_sql"],
    form="one `sql` step that inserts what is new, with its landing and records",
)
BY_HAND = Side(
    name="by_hand",
    title="by hand",
    scores=["{python}", "work.py", "scores"],
    form="the floor: a script with one `MERGE`, without records",
)
PEERS = (
    Side(
        name="dbt",
        title="dbt-core, dbt-duckdb",
        shown=("dbt-core", "dbt-duckdb"),
        scores=["{bin}/dbt", "--quiet", "run", "--select", "scores"],
        nothing=["{bin}/dbt", "--quiet", "run", "--select", "nothing"],
        help=["{bin}/dbt", "--help"],
        list=["{bin}/dbt", "--quiet", "ls"],
        table="main_derived.scores",
        env={"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
        files=_numbered("models/nothing/nothing_{n}.sql", "SELECT 1 AS one\n"),
        form="incremental model by time, `unique_key`, `merge`, partial parsing, 4 threads; 20 views of `SELECT 1`",
    ),
    Side(
        name="sqlmesh",
        title="SQLMesh",
        shown=("sqlmesh",),
        scores=["{bin}/sqlmesh", "run", "--ignore-cron"],
        nothing=["{bin}/sqlmesh", "run", "--ignore-cron"],
        prepare=[
            "{bin}/sqlmesh",
            "plan",
            "--auto-apply",
            "--no-prompts",
            "--execution-time",
            "{day} 00:00:00",
        ],
        help=["{bin}/sqlmesh", "--help"],
        env={"SQLMESH__DISABLE_ANONYMIZED_ANALYTICS": "true"},
        idle_without="models/scores",
        files=_numbered("models/nothing/nothing_{n}.sql", _MODEL),
        form="`INCREMENTAL_BY_UNIQUE_KEY` over one day that is due; 20 `FULL` models of `SELECT 1`",
    ),
    Side(
        name="dlt",
        title="dlt",
        shown=("dlt",),
        scores=["{python}", "pipeline.py", "scores"],
        nothing=["{python}", "pipeline.py", "nothing"],
        help=["{bin}/dlt", "--help"],
        env={"RUNTIME__DLTHUB_TELEMETRY": "false", "DLT_DATA_DIR": "dlt_home"},
        form="incremental cursor by time, Arrow, `merge` by key; 20 resources without rows",
    ),
    Side(
        name="luigi",
        title="Luigi",
        shown=("luigi",),
        scores=["{bin}/luigi", "--module", "tasks", "Scores", "--local-scheduler", "--log-level", "WARNING"],
        nothing=[
            "{bin}/luigi",
            "--module",
            "tasks",
            "Nothings",
            "--local-scheduler",
            "--log-level",
            "WARNING",
        ],
        help=["{bin}/luigi", "--help"],
        works=True,
        env={"PYTHONPATH": "."},
        form="tasks in one process, local scheduler; the script's `MERGE`",
    ),
    Side(
        name="prefect",
        title="Prefect",
        shown=("prefect",),
        scores=["{python}", "flows.py", "scores"],
        nothing=["{python}", "flows.py", "nothing"],
        help=["{bin}/prefect", "--help"],
        works=True,
        env={
            "PREFECT_HOME": "{live}/home",
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        },
        form="a flow and tasks with the temporary server that Prefect starts itself; the script's `MERGE`",
    ),
    Side(
        name="dagster",
        title="Dagster",
        shown=("dagster",),
        scores=["{python}", "definitions.py", "scores"],
        nothing=["{python}", "definitions.py", "nothing"],
        help=["{bin}/dagster", "--help"],
        list=["{bin}/dagster", "job", "list", "-f", "definitions.py"],
        works=True,
        env={"DAGSTER_DISABLE_TELEMETRY": "yes"},
        form="`materialize` and `execute_in_process` with an instance in memory; the script's `MERGE`",
    ),
)
