"""The kinds of files of a project, and how the schema of each is put together from those of the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from runner.operations.schema.generator import SchemaGenerator
from runner.operations.schema.rules import PARAMETER, WRITTEN_OUT
from runner.operations.schema.short_forms import one_of_several

Schema = dict[str, Any]
DRAFT = "http://json-schema.org/draft-07/schema#"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: its word, a sentence about it, and the files it is about, as globs from the project."""

    name: str
    text: str
    files: tuple[str, ...]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("job", "A job: steps whose rows land together.", ("configs/jobs/**/*.yaml",)),
        Kind("pipeline", "A pipeline: jobs, in stages or as a graph.", ("configs/pipelines/*.yaml",)),
        Kind("tables", "Tables of one dataset.", ("configs/tables/*.yaml",)),
        Kind("settings", "Settings of the project.", ("configs/runner.toml",)),
    )
}
"""The kinds of files of a project, by name."""


def schema_of(kind: str) -> Schema:
    """Return the JSON Schema of a kind of file. Raises `KeyError` for another word."""
    made = {"job": _job, "pipeline": _pipeline, "tables": _tables, "settings": _settings}[kind]()
    definitions = made.pop("definitions")
    return {
        "$schema": DRAFT,
        "title": f"run-pipeline: {kind}",
        **made,
        "description": KINDS[kind].text,
        **({"definitions": definitions} if definitions else {}),
    }


def _made(model: type[BaseModel]) -> Schema:
    return model.model_json_schema(
        by_alias=True, ref_template="#/definitions/{model}", schema_generator=SchemaGenerator
    )


def _job() -> Schema:
    from runner.specs import JobSpec

    made = _made(JobSpec)
    definitions = made["definitions"]
    steps = references_of(made["properties"]["steps"]["items"])
    made["properties"]["steps"]["items"] = {"$ref": "#/definitions/Step"}
    for name, definition in (("", made), *definitions.items()):
        if name != "ParamSpec":
            _let_parameters_in(definition)
    definitions["Step"] = _step(steps, definitions)
    definitions["Parameter"] = PARAMETER
    return made


def references_of(union: Schema) -> dict[str, str]:
    """Return the reference of each choice's definition by the word that chooses it (`op`, `kind`), from the union
    that pydantic makes.
    """
    return dict(union["discriminator"]["mapping"])


def _step(steps: dict[str, str], definitions: dict[str, Schema]) -> Schema:
    """Return one choice after another by `op`, so that an editor tells what is wrong with *this* op.

    With `oneOf` it would tell what is wrong with the one that it takes for the nearest.
    """
    first = definitions[next(iter(steps.values())).rpartition("/")[2]]["properties"]
    op = {"description": first["op"]["description"], "type": "string", "enum": list(steps)}
    return {
        "type": "object",
        "properties": {"step_id": first["step_id"], "op": op},
        "required": ["step_id", "op"],
        "allOf": [
            {"if": {"type": "object", "properties": {"op": {"const": name}}, "required": ["op"]},
             "then": {"$ref": reference}}
            for name, reference in steps.items()
        ],
    }  # fmt: skip


def _warehouse(union: Schema, definitions: dict[str, Schema]) -> Schema:
    """Return one choice after another by `kind`, for the same reason. Without one it is DuckDB."""
    kinds = references_of(union)
    keys = definitions[kinds["duckdb"].rpartition("/")[2]]["properties"]
    kind = {"description": keys["kind"]["description"], "enum": list(kinds), "default": "duckdb"}
    return {
        "description": union["description"],
        "type": "object",
        "properties": {"kind": kind},
        "allOf": [
            {"if": {"properties": {"kind": {"const": name}}, "required": [] if name == "duckdb" else ["kind"]},
             "then": {"$ref": reference}}
            for name, reference in kinds.items()
        ],
    }  # fmt: skip


def _let_parameters_in(schema: Schema) -> None:
    """Let `{param: NAME}` stand wherever a value stands, in place: keys of objects, entries of lists."""
    for key, inner in schema.get("properties", {}).items():
        if key not in WRITTEN_OUT:
            schema["properties"][key] = _or_parameter(inner)
        elif key == "params" and "const" in schema["properties"].get("op", {}):
            _let_parameters_in(inner)


def _or_parameter(schema: Schema) -> Schema:
    about: Schema = {name: schema[name] for name in ("description", "default") if name in schema}
    rest = {name: value for name, value in schema.items() if name not in about}
    if not rest or rest == {"type": "object", "additionalProperties": True}:
        return schema  # anything: a parameter, too
    choices = [_with_entries(choice) for choice in _choices(rest)]
    return {**about, **one_of_several(*choices, {"$ref": "#/definitions/Parameter"})}


def _choices(schema: Schema) -> list[Schema]:
    if set(schema) == {"anyOf"}:
        return [choice for inner in schema["anyOf"] for choice in _choices(inner)]
    if set(schema) == {"allOf"} and len(schema["allOf"]) == 1:
        return list(schema["allOf"])
    return [schema]


def _with_entries(schema: Schema) -> Schema:
    """Let parameters in as entries of a list and as values of a mapping."""
    made = dict(schema)
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = _or_parameter(made[key])
    return made


def _pipeline() -> Schema:
    from runner.specs import PipelineSpec

    return _made(PipelineSpec)


def _tables() -> Schema:
    """Return the schema of a file; its tables are read as `TableSpec`, which gets the dataset from above."""
    from runner.specs import DatasetSpec, TableSpec

    made, table = _made(DatasetSpec), _made(TableSpec)
    definitions = table.pop("definitions")
    del table["properties"]["dataset"]
    table["required"].remove("dataset")
    made["properties"]["tables"]["items"] = {"$ref": "#/definitions/TableSpec"}
    made["definitions"] = {"TableSpec": table, **definitions}
    return made


def _settings() -> Schema:
    from runner.settings import Settings

    made = _made(Settings)
    del made["properties"]["project"]  # it is found, not set
    made["required"].remove("project")
    made["properties"]["warehouse"] = _warehouse(made["properties"]["warehouse"], made["definitions"])
    return made
