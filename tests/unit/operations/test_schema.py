"""Schemas for editors: they let in every sound file, and refuse what a schema can refuse of the broken ones."""

from __future__ import annotations

import copy
import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pydantic import BaseModel

from runner.errors import ConfigurationError, UsageError
from runner.loader import open_project
from runner.loader.reader import read_yaml
from runner.operations.init import init_project
from runner.operations.schema import KINDS, SCHEMA_FOLDER, install_schemas, schema_of, write_schemas
from runner.operations.schema.descriptions import DESCRIPTIONS, description_of
from runner.operations.schema.generator import SchemaGenerator
from runner.settings import Settings
from runner.specs import STEP_OPS, DatasetSpec, JobSpec, PipelineSpec, TableSpec
from tests.projects import (
    REPOSITORY,
    ThrowAwayProject,
    call,
    extract,
    make_project,
    not_exists,
    project,
    read,
    write,
)

__all__ = ["make_project", "project"]

BROKEN = REPOSITORY / "tests" / "fixtures" / "broken"
CASES = sorted(folder.name for folder in BROKEN.iterdir() if (folder / "expected.txt").is_file())

REFUSED = frozenset(
    {
        *("check_of_an_unknown_kind", "check_of_half_a_table", "check_values_that_are_none"),
        *("command_as_name", "dataset_in_a_table", "dataset_of_the_engine", "event_of_the_engine"),
        *("extract_with_left_anti",),
        *(
            "file_name_is_no_id",
            "filter_op_without_quotes",
            "first_step_takes_rows",
            "id_of_a_parameter",
            "id_that_leaves_its_folder",
        ),
        *("identify_that_does_not_fit", "job_twice_in_a_stage", "left_anti_without_times", "missing_key"),
        *("lookback_of_half_a_pair", "lookback_of_rows_from_outside"),
        *("name_of_no_resource", "no_steps", "not_a_function_name", "parameter_default_of_wrong_type"),
        *(
            "reserved_argument",
            "several_files",
            "sql_text_twice",
            "stages_and_jobs",
            "table_that_does_not_fit",
        ),
        *("unknown_incremental_mode", "unknown_input", "unknown_key", "unknown_op", "workers_out_of_range"),
        *("write_to_the_engines_tables", "wrong_type"),
    }
)
"""Broken projects of which a schema refuses at least one file."""

BEYOND = {
    "it is no YAML, or none that is read: the editor's parser tells, or nobody before `validate`": {
        *(
            "alias",
            "duplicate_key",
            "empty",
            "not_utf8",
            "not_yaml",
            "plain_scalars_of_yaml_1_1",
            "tab",
            "tag",
            "too_deep",
            "two_documents",
        ),
    },
    "it is about the name or place of the file, which a schema never sees": {
        *("dataset_is_not_the_file_name", "id_is_not_the_file_name", "other_ending"),
        *("pipeline_and_job_of_one_name", "same_name_in_two_folders"),
    },
    "it is about another file: a table, a job, a pipeline, the settings": {
        *("check_bounds_that_exclude_each_other", "check_of_unknown_columns", "check_values_of_wrong_type"),
        *("columns_beyond_a_check",),
        *("columns_that_the_target_does_not_have", "cursor_of_json", "cycle_of_jobs", "cycle_of_pipelines"),
        *("filter_of_wrong_type", "float64_as_key", "job_twice", "json_as_key"),
        *("key_columns_that_the_target_does_not_have",),
        *("keys_of_different_type", "keys_of_two_number_types", "left_anti_on_text", "pieces_of_one_key"),
        *("lookback_columns_that_do_not_fit",),
        *("prefix_on_a_number", "stamps_that_do_not_fit", "table_twice", "unknown_column"),
        *("unknown_connection", "unknown_dataset", "unknown_job", "unknown_key_column", "unknown_queue"),
        *("sql_text_that_cannot_be_found", "unknown_table", "unknown_target_table", "write_without_key"),
    },
    "it is about SQL": {
        *("check_expression_that_is_no_condition", "sql_of_a_refused_kind", "sql_of_several_statements"),
        *("sql_parameters_that_cannot_be_bound", "sql_parameters_that_do_not_fit", "sql_that_is_no_sql"),
        *("sql_writes_that_do_not_fit",),
    },
    "it is about Python code, of the project or behind a `source`": {
        *("coroutine_in_a_process", "dlt_resource_that_does_not_fit", "http_arguments_that_do_not_fit"),
        *("http_since_that_goes_nowhere", "http_without_a_place", "source_imap_that_does_not_fit"),
        *("argument_of_wrong_type", "function_file_that_fails", "missing_argument", "unknown_argument"),
        *("unknown_function", "unknown_module"),
    },
    "it compares two places of one file, for which JSON Schema has no words": {
        *("check_of_a_job_in_pieces", "check_of_rows_that_needs_a_table"),
        *("keys_of_different_number", "needs_of_another_pipeline", "replace_beside_another_write"),
        *("replace_in_pieces", "replace_with_new_rows_only", "rows_of_a_write", "stage_name_twice"),
        *("sql_in_a_job_that_lands_in_pieces", "step_id_twice", "unknown_parameter"),
    },
}
"""Broken projects whose fault a schema cannot see, by the reason."""


@cache
def validator(kind: str) -> Draft7Validator:
    return Draft7Validator(schema_of(kind))


def kind_of(file: Path) -> str:
    parts = file.parts
    folder = parts[len(parts) - 1 - parts[::-1].index("configs") + 1]
    return {"jobs": "job", "pipelines": "pipeline", "tables": "tables"}[folder]


def faults(file: Path, content: Any = None) -> list[str]:
    plain = read_yaml(file.read_bytes(), file.name).plain() if content is None else content
    return [error.message for error in validator(kind_of(file)).iter_errors(plain)]


def yaml_files(folder: Path) -> list[Path]:
    return sorted((folder / "configs").rglob("*.yaml"))


def refused(folder: Path) -> dict[str, list[str]]:
    return {file.name: found for file in yaml_files(folder) if (found := faults(file))}


# --- what is sound ---


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_is_a_schema_of_draft_7(kind: str) -> None:
    schema = schema_of(kind)

    Draft7Validator.check_schema(schema)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"


SOUND = [*yaml_files(REPOSITORY), *yaml_files(BROKEN / "_project")]


@pytest.mark.parametrize("file", SOUND, ids=lambda file: file.name)
def test_the_files_of_the_reference_project_and_of_the_sound_fixture_fit(file: Path) -> None:
    assert faults(file) == []


def test_the_files_of_a_new_project_fit(tmp_path: Path) -> None:
    folder = init_project(tmp_path / "demo").folder

    assert refused(folder) == {}


@pytest.mark.parametrize("folder", [REPOSITORY, BROKEN / "_project"], ids=["reference", "fixture"])
def test_the_settings_of_a_project_fit(folder: Path) -> None:
    content = tomllib.loads((folder / "configs" / "runner.toml").read_text(encoding="utf-8"))

    assert [error.message for error in validator("settings").iter_errors(content)] == []


def test_what_the_reference_shows_fits() -> None:
    """Blocks of docs/reference/yaml.md that are whole files, and those that are steps or filters of a job."""
    text = (REPOSITORY / "docs" / "reference" / "yaml.md").read_text(encoding="utf-8")
    shown = 0
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        name = re.match(r"# (configs/\S+)", block)
        content: Any
        if name:
            kind = kind_of(Path(name[1]))
            content = read_yaml(block.encode(), name[1]).plain()
        elif block.startswith("- step_id"):
            kind = "job"
            content = {
                "job_id": "shown",
                "steps": read_yaml(f"steps:\n{block}".encode(), "x").plain()["steps"],
            }
        else:
            continue
        shown += 1
        assert [error.message for error in validator(kind).iter_errors(content)] == [], block
    assert shown >= 4


def test_throw_away_projects_fit(project: ThrowAwayProject) -> None:
    """Every short form, and a parameter wherever a value stands."""
    parameter = {"param": "any"}
    project.table("s.a", "id string!, at timestamp, n int64", key=["id"], partition_by={"column": "at"})
    project.table("s.b", "id string!", managed=False, cluster_by=["id"], indexes=[{"columns": "id"}])
    project.job(
        "short",
        extract("pull", cursor={"dataset": "s", "table": "a", "column": "at", "filters": {"id": parameter}},
                identify={"column": "id", "from": "n"}, defaults={"n": parameter}, timeout="5m"),
        call("score", arguments={"x": parameter, "deep": [{"y": parameter}]}, retries=parameter),
        write("s.a", key="id", set_on_insert="at", commit_every=parameter, timeout=30),
        read("s.a", step_id="again", columns=["id", parameter], filters={"id": "x", "n": 2}, order_by="id",
             incremental=not_exists("s.b", "id", join_key_suffix="v1"), limit=parameter),
        write("s.b", step_id="last") | {"mode": parameter},
        params={"any": {"default": "x"}, "n": {"type": "int64", "default": 1}, "free": {}},
        timeout="1.5 h", queue=parameter,
    )  # fmt: skip
    project.job(
        "long",
        read("s.a", filters=[{"column": "id", "op": "in", "value": ["a", parameter]}, {"column": "n", "value": 1}],
             incremental={**not_exists("s.b", "id"), "mode": "left_anti", "source_ts": "at", "target_ts": "at"}),
        {"step_id": "s", "op": "sql", "statement": {"duckdb": "SELECT 1"}, "params": {"x": parameter}},
        {"step_id": "w", "op": "sql", "file": "sql/x.sql", "writes": ["s.a", "s.b"]},
    )  # fmt: skip
    project.pipeline(
        "staged", stages=[{"name": "one", "jobs": ["short"]}], max_workers=2, stop_on_failure=True
    )
    project.pipeline("graph", jobs={"short": None, "long": {"needs": "short", "after": []}})

    assert len(yaml_files(project.root)) == 5
    assert refused(project.root) == {}


SPOILERS: list[Any] = [
    None, True, 0, 1, 1.5, -3, "", "x", "daily", "2m", "a.b", "ops", [], ["x"], ["x", "x"], {}, {"param": "binding"},
    {"x": "y"}, "in", "left_anti", "read", "list",
]  # fmt: skip


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inner, (*path, key))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_the_schema_refuses_does_not_load(data: st.DataObject, tmp_path: Path) -> None:
    """One value of a sound file is changed. A false alarm in an editor is worse than a fault seen later."""
    folder = tmp_path / "spoilt"
    if not folder.exists():
        shutil.copytree(REPOSITORY / "configs", folder / "configs")
        shutil.copytree(REPOSITORY / "jobs", folder / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    file = data.draw(st.sampled_from(yaml_files(folder)))
    before = file.read_bytes()
    content = read_yaml(before, file.name).plain()
    path = data.draw(st.sampled_from(list(places(content))))
    spoilt = changed(content, path, data.draw(st.sampled_from(SPOILERS)))
    if not faults(file, spoilt):
        return
    file.write_text(json.dumps(spoilt), encoding="utf-8")
    try:
        problems = [str(problem) for problem in open_project(Settings.load(folder)).check()]
    except ConfigurationError as error:
        problems = [str(error)]
    finally:
        file.write_bytes(before)
    assert problems, (file.name, path, faults(file, spoilt))


def changed(content: Any, path: tuple[str | int, ...], value: Any) -> Any:
    made = copy.deepcopy(content)
    inner = made
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return made


# --- what is broken ---


def test_every_broken_project_is_classified_once() -> None:
    classes = [REFUSED, *BEYOND.values()]

    assert sorted(case for names in classes for case in names) == CASES
    assert len(REFUSED) >= 20


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_the_schema_refuses(case: str) -> None:
    assert [fault for file in yaml_files(BROKEN / case) for fault in faults(file)] != []


@pytest.mark.parametrize("case", sorted(set(CASES) - REFUSED))
def test_what_is_beyond_a_schema_is_not_refused_by_it(case: str) -> None:
    """If one is refused, after all, it belongs to the others."""
    for file in yaml_files(BROKEN / case):
        try:
            assert faults(file) == []
        except ConfigurationError:
            continue  # no YAML that is read


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"op": "reed"}, "'reed' is not one of"),
        ({"op": "read", "dataset": "s", "table": "t", "filtres": 1}, "'filtres' was unexpected"),
        ({"op": "read", "dataset": "s"}, "'table' is a required property"),
        ({"op": "sql"}, "is not valid under any of the given schemas"),
        ({"op": "sql", "statement": "SELECT 1", "file": "x.sql"}, "'x.sql' is not one of [None"),
    ],
)  # fmt: skip
def test_a_fault_of_a_step_is_told_for_its_op_alone(step: dict[str, Any], message: str) -> None:
    job = {
        "job_id": "x",
        "steps": [{"step_id": "first", "op": "sql", "statement": "SELECT 1"}, {"step_id": "s", **step}],
    }

    found = [error.message for error in validator("job").iter_errors(job)]

    assert len(found) == 1
    assert message in found[0]


WAREHOUSES: list[tuple[dict[str, Any], str]] = [
    ({"path": "x.db", "threads": 2}, ""),
    ({"kind": "duckdb", "memory_limit": "2GB"}, ""),
    ({"kind": "postgres", "dsn": "host=x", "check_interval": "none", "connect_timeout": 5}, ""),
    ({"kind": "bigquery", "location": "EU", "maximum_bytes_billed": 1_000_000, "priority": "batch"}, ""),
    ({"kind": "sqlite"}, "'sqlite' is not one of ["),
    ({"kind": "postgres", "path": "x.db"}, "'path' was unexpected"),
    ({"dsn": "host=x"}, "'dsn' was unexpected"),
    ({"kind": "bigquery", "maximum_bytes_billed": 0}, "is not valid under any of the given schemas"),
    ({"kind": "postgres", "max_connections": 300}, "300 is greater than the maximum of 256"),
]


@pytest.mark.parametrize(("warehouse", "message"), WAREHOUSES)
def test_a_warehouse_has_the_keys_of_its_kind(
    warehouse: dict[str, Any], message: str, project: ThrowAwayProject
) -> None:
    found = [error.message for error in validator("settings").iter_errors({"warehouse": warehouse})]

    assert len(found) == bool(message)
    assert all(message in text for text in found)
    if message:
        with pytest.raises(ConfigurationError):
            Settings.load(project.root, warehouse=warehouse)
    else:
        Settings.load(project.root, warehouse=warehouse)


# --- nothing is left out ---


def models_below(*models: type[BaseModel]) -> set[type[BaseModel]]:
    found: set[type[BaseModel]] = set()
    waiting: list[Any] = list(models)
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and issubclass(each, BaseModel):
            if each not in found:
                found.add(each)
                waiting += [field.annotation for field in each.model_fields.values()]
        else:
            waiting += get_args(each)
    return found


MODELS = models_below(JobSpec, PipelineSpec, DatasetSpec, TableSpec, Settings)
LEFT_OUT = {("Settings", "project"), ("TableSpec", "dataset")}


def test_every_key_of_every_model_is_described() -> None:
    keys = {(model, field.alias or name) for model in MODELS for name, field in model.model_fields.items()}

    missing = {(model.__name__, key) for model, key in keys if not description_of(model, key)}
    assert missing == LEFT_OUT


def test_no_description_is_of_a_key_that_is_gone() -> None:
    known = {cls.__name__ for model in MODELS for cls in model.__mro__}
    assert set(DESCRIPTIONS) <= known


def test_every_validator_of_the_models_is_known() -> None:
    """A validator that lets in more than its type says needs a shape, or sound files would be refused."""
    for kind in KINDS:
        schema_of(kind)

    assert SchemaGenerator.unknown == set()


def test_every_op_has_its_keys() -> None:
    choices = schema_of("job")["definitions"]["Step"]["allOf"]

    assert {choice["if"]["properties"]["op"]["const"] for choice in choices} == set(STEP_OPS)


# --- installing ---


def test_installed_schemas_are_named_beside_the_editors_other_settings(tmp_path: Path) -> None:
    settings_file = tmp_path / ".vscode" / "settings.json"
    settings_file.parent.mkdir()
    settings_file.write_text('{"editor.rulers": [110], "yaml.schemas": {"./mine.json": "mine/*.yaml"}}')

    installed = install_schemas(tmp_path)
    install_schemas(tmp_path)

    written = json.loads(settings_file.read_text(encoding="utf-8"))
    assert written["editor.rulers"] == [110]
    assert written["yaml.schemas"]["./mine.json"] == "mine/*.yaml"
    for file, globs in written["yaml.schemas"].items():
        if file != "./mine.json":
            assert json.loads((tmp_path / file).read_text(encoding="utf-8")) == schema_of(Path(file).stem)
            assert globs == list(KINDS[Path(file).stem].files)
    assert (tmp_path / SCHEMA_FOLDER / "settings.json").is_file()
    assert all((tmp_path / file).is_file() for file in installed.files)


@pytest.mark.parametrize("text", ['{"a": 1, // mine\n}', "[]", '{"yaml.schemas": []}'])
def test_settings_of_the_editor_that_cannot_be_read_are_left_alone(text: str, tmp_path: Path) -> None:
    file = tmp_path / ".vscode" / "settings.json"
    file.parent.mkdir()
    file.write_text(text)

    with pytest.raises(UsageError, match=r"yaml\.schemas"):
        install_schemas(tmp_path)

    assert file.read_text() == text
    assert not (tmp_path / SCHEMA_FOLDER).exists()


def test_a_folder_of_schemas_is_replaced(tmp_path: Path) -> None:
    write_schemas(tmp_path / "deep" / "er")
    (tmp_path / "deep" / "er" / "job.json").write_text("old")

    files = write_schemas(tmp_path / "deep" / "er")

    assert sorted(file.name for file in files) == sorted(f"{kind}.json" for kind in KINDS)
    assert json.loads(files[0].read_text(encoding="utf-8")) == schema_of("job")
