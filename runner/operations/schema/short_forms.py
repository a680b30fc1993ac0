"""What the models' validators let in besides the plain type, as JSON Schema: by the name of the validator.

pydantic calls them when it reads a value and knows nothing of what they accept. A test checks that every validator
of the models stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runner.specs.names import ENGINE_EVENTS

Schema = dict[str, Any]
Shape = Callable[[Schema], Schema]

# ECMA 262, as JSON Schema wants them: anchored, without possessive quantifiers or named groups.
ID = r"^(?!.*\.\.)[a-z0-9]([a-z0-9_.-]{0,62}[a-z0-9_-])?$"
EVENT = rf"^(?=.{{3,64}}$)(?!({'|'.join(ENGINE_EVENTS)})\.)[a-z0-9][a-z0-9_]*(\.[a-z0-9_]+)+$"
IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
TABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,127}\.[A-Za-z_][A-Za-z0-9_]{0,127}$"
FUNCTION = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
RESOURCE = FUNCTION.removesuffix("$") + r"(\.[A-Za-z_][A-Za-z0-9_-]*)?$"
ADDRESS = r"^https?://[^/@\s]+(/.*)?$"
DURATION = r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)\s*$"


def one_of_several(*schemas: Schema) -> Schema:
    """Return a schema that accepts what any of `schemas` does, without a choice inside a choice."""
    choices: list[Schema] = []
    for schema in schemas:
        inner = schema["anyOf"] if set(schema) == {"anyOf"} else [schema]
        choices += [choice for choice in inner if choice not in choices]
    return {"anyOf": choices} if len(choices) > 1 else choices[0]


def _same(schema: Schema) -> Schema:
    return schema


def _text(pattern: str, message: str) -> Shape:
    # patternErrorMessage is what the YAML server of VS Code shows instead of the pattern.
    return lambda _schema: {"type": "string", "pattern": pattern, "patternErrorMessage": message}


def _one_or_list(schema: Schema) -> Schema:
    return one_of_several(schema.get("items", {"type": "string"}), schema)


def _filters(schema: Schema) -> Schema:
    value = {"type": ["string", "number", "boolean"]}
    short = {"type": "object", "propertyNames": {"pattern": IDENTIFIER}, "additionalProperties": value}
    return one_of_several(short, schema)


def _or_null(schema: Schema) -> Schema:
    return one_of_several(schema, {"type": "null"})


def _duration(_schema: Schema) -> Schema:
    message = "a duration: for example 500ms, 30s, 5m, 2h, 30d"
    text = {"type": "string", "pattern": DURATION, "patternErrorMessage": message}
    return one_of_several({"type": "number", "exclusiveMinimum": 0}, text)


def _limit(schema: Schema) -> Schema:
    return one_of_several(_duration(schema), {"type": "string", "const": "none"})


SHAPES: dict[str, Shape] = {
    "check_id": _text(ID, "an id: 1 to 64 of a-z 0-9 _ . -, beginning with a letter or digit"),
    "check_event": _text(EVENT, "a word for an event, none of the engine's own: formation.performance"),
    "check_identifier": _text(IDENTIFIER, "an identifier: a letter or _, then letters, digits and _"),
    "_check_function": _text(FUNCTION, "a function: package.module:function"),
    "_check_resource": _text(RESOURCE, "a resource: package.module:name, or package.module:source.resource"),
    "_table_ref": _text(TABLE, "a table: dataset.table"),
    "check_address": _text(ADDRESS, "an address without a password: http://collector:4318"),
    "as_tuple": _one_or_list,
    "_filters": _filters,
    "_member": _or_null,
    "parse_duration": _duration,
    "seconds": _duration,
    "limit": _limit,
    # These only word a refusal, or put a value into its final form.
    **dict.fromkeys(
        ("_filter_op", "_incremental_mode", "_join_key_suffix", "no_bool", "duckdb_unless_named", "_shipped_queues",
         "_by_engine", "_bound_value", "_not_the_engine", "_not_the_project", "_in_the_project"),
        _same,
    ),
}  # fmt: skip
