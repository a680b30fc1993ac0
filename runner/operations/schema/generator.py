"""JSON Schema of the models, as pydantic makes it, with what only we know: short forms, texts, rules."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue

from runner.operations.schema.descriptions import description_of
from runner.operations.schema.rules import MORE_KEYS, RULES
from runner.operations.schema.short_forms import SHAPES, Schema


class SchemaGenerator(GenerateJsonSchema):
    """Makes the schema of what people write. For `BaseModel.model_json_schema(schema_generator=…)`."""

    unknown: ClassVar[set[str]] = set()
    """Names of validators that `SHAPES` does not know, of all schemas made so far; for the test."""

    def generate(self, schema: Any, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        """Return the whole schema; its definitions are named as draft 7 does."""
        made = super().generate(schema, mode=mode)
        made["definitions"] = made.pop("$defs", {})
        return made

    def function_before_schema(self, schema: Any) -> JsonSchemaValue:
        """Let in what the validator turns into the type."""
        return self._shaped(schema, super().function_before_schema(schema))

    def function_after_schema(self, schema: Any) -> JsonSchemaValue:
        """Say what the validator asks of the type."""
        return self._shaped(schema, super().function_after_schema(schema))

    def _shaped(self, schema: Any, made: JsonSchemaValue) -> JsonSchemaValue:
        name = getattr(schema["function"]["function"], "__name__", "")
        shape = SHAPES.get(name)
        if shape is not None:
            return shape(made)
        whole_model = schema["schema"]["type"] == "model"  # across keys: see `RULES` and `MORE_KEYS`
        own = schema["function"]["function"].__module__.startswith("pydantic") if name else True
        if not whole_model and not own:
            self.unknown.add(name)
        return made

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        """Add texts and rules to an object's schema, and take away what only pydantic needs."""
        model: type[BaseModel] = schema["cls"]
        made = super().model_schema(schema)
        made.pop("title", None)
        made["properties"].update(MORE_KEYS.get(model.__name__, {}))
        made["properties"] = {key: _told(model, key, inner) for key, inner in made["properties"].items()}
        if rules := RULES.get(model.__name__):
            made["allOf"] = [*made.get("allOf", []), *rules]
        return made

    def dict_schema(self, schema: Any) -> JsonSchemaValue:
        """Refuse names that do not fit, which `patternProperties` alone lets pass."""
        made = super().dict_schema(schema)
        if "patternProperties" in made:
            made["additionalProperties"] = False
        return made


def _told(model: type[BaseModel], key: str, schema: Schema) -> Schema:
    """Return a key's schema with its text, without titles and without defaults that say nothing."""
    made = {name: value for name, value in schema.items() if name not in ("title", "format", "writeOnly")}
    if made.get("default") in (None, "", [], {}, ()):
        made.pop("default", None)
    if "anyOf" in made and "minItems" in made:  # it is about the list among the choices
        least = made.pop("minItems")
        made["anyOf"] = [
            {**choice, "minItems": least} if choice.get("type") == "array" else choice
            for choice in made["anyOf"]
        ]
    if "$ref" in made:  # beside it, draft 7 reads nothing
        made = {"allOf": [{"$ref": made.pop("$ref")}], **made}
    text = description_of(model, key)
    return {"description": text, **made} if text else made
