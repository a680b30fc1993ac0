"""What is wrong with settings, in words: pydantic's errors at the places that the values came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings

from runner.errors import Problem, did_you_mean
from runner.redaction import without_passwords
from runner.settings.origins import Origins
from runner.settings.places import ENV_PREFIX
from runner.settings.toml_lines import Keys
from runner.settings.warehouses import KINDS

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "finite_number": "a whole number",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "dict_type": "keys with values",
    "path_type": "a path",
}


def problems_of(
    error: ValidationError, settings: type[BaseSettings], folder: Path, arguments: Mapping[str, Any]
) -> list[Problem]:
    """Return pydantic's errors as problems, each at the place that its value came from."""
    origins = Origins(settings, folder, arguments)
    return [_problem(settings, item, origins) for item in error.errors(include_url=False)]


def _problem(settings: type[BaseModel], item: Any, origins: Origins) -> Problem:
    keys, kind = _place(item)
    place = origins.of(keys)
    path = ".".join(keys)
    variable = f"{ENV_PREFIX}{path.upper()}"
    if item["type"] == "extra_forbidden":
        if other := _other_kind(kind, keys):
            return place.problem(f"not a setting of kind {kind}, {other}", path=path)
        names = sorted(KINDS[kind].model_fields) if kind else _names_at(settings, keys[:-1])
        hint = did_you_mean(keys[-1], names)
        expected = "" if hint else f"one of {', '.join(names)}"
        return place.problem("unknown setting", path=path, expected=expected, hint=hint)
    is_section = item["type"] in ("model_type", "model_attributes_type", "dict_type")
    if is_section and place.file.upper().endswith(f" {variable}"):
        return place.problem("not a JSON object", path=path, expected=f"{variable}__KEY, or JSON")
    message, expected = _words(item, show=not _is_secret(keys))
    return place.problem(message, path=path, expected=expected)


def _place(item: Any) -> tuple[Keys, str]:
    """Return the keys of an error as they are written, and the kind of warehouse that its model is ("" for others).

    pydantic puts the kind between the section and its keys.
    """
    keys = tuple(str(part) for part in item["loc"])
    if item["type"] == "union_tag_invalid":
        return (*keys, "kind"), ""
    if keys[0] == "warehouse" and len(keys) > 1:
        return (keys[0], *keys[2:]), keys[1]
    return keys, ""


def _other_kind(kind: str, keys: Keys) -> str:
    """Say which kinds of warehouse have a key that `kind` has not; "" when none does."""
    others = [other for other, model in KINDS.items() if kind and keys[-1] in model.model_fields]
    return f"but of {' and '.join(others)}" if others else ""


def _is_secret(keys: Keys) -> bool:
    return keys[0] == "connections" or (keys[0] == "warehouse" and keys[-1] in ("dsn", "password"))


def _names_at(model: type[BaseModel], keys: Keys) -> list[str]:
    fields, is_name = model.model_fields, False
    for key in keys:
        if is_name:  # of a receiver: free, and what is below it is known already
            is_name = False
            continue
        inner = fields[key].annotation if key in fields else None
        is_name = get_origin(inner) is dict
        choices = [inner, *get_args(inner)]
        fields = next((each.model_fields for each in choices if hasattr(each, "model_fields")), {})
    return sorted(set(fields) - {"project"})


def _words(item: Any, *, show: bool) -> tuple[str, str]:
    """Return message and expectation of one of pydantic's errors; `show` lets the message hold the value."""
    value = item["input"]
    if isinstance(value, str):
        value = without_passwords(value)
    shown = repr(value)[:80] if show and isinstance(value, str | int | float) else f"a {type(value).__name__}"
    context = item.get("ctx", {})
    match item["type"]:
        case "value_error":
            message, _, expected = str(context["error"]).partition("; expected ")
            return message, expected
        case "greater_than_equal":
            return f"{shown} is too small", f"at least {context['ge']}"
        case "less_than_equal":
            return f"{shown} is too large", f"at most {context['le']}"
        case "literal_error":
            return f"got {shown}", str(context["expected"]).replace("'", "")
        case "union_tag_invalid":
            return f"got {str(context['tag'])[:80]!r}", str(context["expected_tags"]).replace("'", "")
        case "string_pattern_mismatch" | "string_too_short":
            return f"got {shown}", "for example 500MB, 2GB" if "GB" in str(context) else "a name"
        case kind if kind in _EXPECTED:
            return f"got {shown}", _EXPECTED[kind]
        case _:
            return f"{item['msg']}, got {shown}", ""
