"""What the models check across their keys, as far as JSON Schema can say it. By model.

The models stay the judge: these are for the editor, which underlines while one types.
"""

from __future__ import annotations

from typing import Any

from runner.functions.function import RESERVED
from runner.loader.index import COMMANDS
from runner.operations.schema.short_forms import IDENTIFIER
from runner.specs import ENGINE_DATASET
from runner.specs.expectations import KINDS as EXPECTATIONS

Schema = dict[str, Any]
FIRST_OPS = ("extract", "read", "sql", "check")
"""Operations of which a job's first step may be; the others take rows."""


def _has(**values: Any) -> Schema:
    """Return a schema of objects that have these keys with these values."""
    return {
        "type": "object",
        "properties": {key: {"const": value} for key, value in values.items()},
        "required": list(values),
    }


def _given(key: str) -> Schema:
    """Return a schema of objects in which a key stands, and is not empty."""
    return {"type": "object", "required": [key], "properties": {key: {"not": {"enum": [None, [], {}]}}}}


def _either(first: str, second: str) -> list[Schema]:
    """Return rules: one of two keys, and not both."""
    return [
        _one_at_least(first, second),
        {"if": _given(first), "then": {"properties": {second: {"enum": [None, [], {}]}}}},
    ]


def _one_at_least(*keys: str) -> Schema:
    return {"anyOf": [{"required": [key]} for key in keys]}


def _no(*keys: str) -> Schema:
    """Return a rule: none of these keys."""
    return {"properties": {key: {"type": "null"} for key in keys}}


def _only(key: str, name: str, value: str) -> Schema:
    """Return a rule: the object at `key` has no other `name` than `value`."""
    return {"properties": {key: {"properties": {name: {"enum": [value]}}}}}


def _not_named(*words: str) -> Schema:
    """Return a rule for texts: none of these words."""
    return {
        "pattern": f"^(?!({'|'.join(sorted(words))})$)",
        "patternErrorMessage": f"any other name than {', '.join(sorted(words))}",
    }


def _text(pattern: str, message: str) -> Schema:
    return {"type": ["string", "null"], "pattern": pattern, "patternErrorMessage": message}


def _by_type(**defaults: Schema) -> list[Schema]:
    return [
        {"if": _has(type=name), "then": {"properties": {"default": each}}} for name, each in defaults.items()
    ]


_NO_COMMAND = _not_named(*COMMANDS)
_NO_RESERVED = {"properties": {"with": {"propertyNames": _not_named(*RESERVED)}}}
_NOT_OURS = {"properties": {"dataset": _not_named(ENGINE_DATASET)}}
_NO_INPUT = _no("input")

RULES: dict[str, list[Schema]] = {
    "PipelineSpec": [*_either("stages", "jobs"), {"properties": {"pipeline_id": _NO_COMMAND}}],
    "StageSpec": [{"properties": {"jobs": {"uniqueItems": True}}}],
    "JobSpec": [
        {"properties": {"job_id": _NO_COMMAND}},
        {"properties": {"steps": {"items": [{"properties": {"op": {"enum": list(FIRST_OPS)}}}]}}},
    ],
    "ParamSpec": [
        {"if": {"not": {"required": ["type"]}}, "then": {"properties": {"default": {"type": ["string", "null"]}}}},
        *_by_type(
            string={"type": ["string", "null"]},
            int64={**_text(r"^[+-]?[0-9]{1,19}$", "a whole number"), "type": ["integer", "string", "null"]},
            float64={**_text(r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$", "a number"),
                     "type": ["number", "string", "null"]},
            bool={"enum": [True, False, "true", "false", None]},
            timestamp=_text(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ].*([Zz]|[+-][0-9]{2}:[0-9]{2})$",
                            "a time with its offset: 2026-02-12T06:00:00Z"),
            date=_text(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "a date: 2026-02-12"),
            path=_text(r".", "a path"),
        ),
    ],
    "ExtractSpec": [
        *_either("function", "source"),
        {"if": _has(source="dlt"), "then": {"required": ["resource"]}, "else": _no("resource")},
        _only("incremental", "mode", "not_exists"),
        {"properties": {"incremental": {"properties": {"lookback": _no("source_column", "target_column")}}}},
        _NO_RESERVED,
        _NO_INPUT,
    ],
    "ReadSpec": [_NO_INPUT],
    "CallSpec": [_NO_RESERVED],
    "WriteSpec": [_NOT_OURS],
    "SqlSpec": [*_either("statement", "file"), _NO_INPUT],
    "CheckSpec": [{"dependencies": {"dataset": ["table"], "table": ["dataset"]}}],
    "Expectation": [{"oneOf": [{"required": [kind]} for kind in EXPECTATIONS]}],
    "Range": [_one_at_least("min", "max")],
    "Rows": [_one_at_least("min", "max")],
    "Filter": [
        {
            "if": _has(op="in"),
            "then": {"properties": {"value": {"type": ["array", "object"], "minItems": 1}}},
            "else": {"properties": {"value": {"type": ["string", "number", "boolean", "object"]}}},
        },
    ],
    "Incremental": [
        {"if": _has(mode="left_anti"), "then": {"required": ["source_ts", "target_ts"]}},
        {"if": _has(mode="not_exists"), "then": _no("source_ts", "target_ts")},
        {"if": {"required": ["key_suffix"]}, "then": _no("join_key_suffix")},
    ],
    "Lookback": [
        {"if": _given("column"), "then": _no("source_column", "target_column")},
        {"anyOf": [{"required": ["column"]}, {"required": ["source_column", "target_column"]}]},
    ],
    "DatasetSpec": [_NOT_OURS],
    "TableSpec": [{"properties": {"cluster_by": {"uniqueItems": True}}}],
}  # fmt: skip
"""Rules that an object of a model must keep, besides those of its keys."""

MORE_KEYS: dict[str, dict[str, Schema]] = {"Incremental": {"join_key_suffix": {"type": "string"}}}
"""Keys that a model takes and turns into others before it looks at them."""

PARAMETER: Schema = {
    "description": "The value of a parameter of this job.",
    "type": "object",
    "properties": {"param": {"type": "string", "pattern": IDENTIFIER, "description": "The name of the parameter."}},
    "required": ["param"],
    "additionalProperties": False,
}  # fmt: skip
WRITTEN_OUT = frozenset({"job_id", "step_id", "op", "steps", "params"})
"""Keys of a job in whose place no `{param: NAME}` makes sense: names, and what holds the parameters."""
