"""From a tree to a model, and from pydantic's errors to problems that people can act on."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from runner.errors import did_you_mean
from runner.loader.documents import Document, Report
from runner.loader.nodes import Path, describe, shorten
from runner.specs import STEP_OPS

M = TypeVar("M", bound=BaseModel)
MAX_PROBLEMS = 50
"""Problems told per file and model; somebody who made more than that made one mistake many times."""

_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "list_type": "a list",
    "tuple_type": "a list",
}


def validate(
    model: type[M],
    document: Document,
    report: Report,
    prefix: Path = (),
    extra: Mapping[str, Any] | None = None,
) -> M | None:
    """Return the model made of the node at `prefix` (with `extra` keys added), or None and a report."""
    plain = document.root.nearest(prefix).plain()
    if extra and isinstance(plain, dict):
        plain = {**plain, **extra}
    try:
        return model.model_validate(plain, by_alias=True, by_name=False)
    except ValidationError as error:
        items = error.errors(include_url=False)
        for item in items[:MAX_PROBLEMS]:
            _report(model, document, report, prefix, item)
        if len(items) > MAX_PROBLEMS:
            report.add(document, prefix, f"{len(items) - MAX_PROBLEMS} more problems of this kind")
        return None


def _report(model: type[BaseModel], document: Document, report: Report, prefix: Path, item: Any) -> None:
    loc: Path = item["loc"]
    kind: str = item["type"]
    path, at_key = _place(document, prefix, loc)
    context: Mapping[str, Any] = item.get("ctx", {})
    if kind == "too_short" and document.root.nearest(path).value:
        return  # pydantic counts only the entries that fit; what is wrong with the others is told anyway
    if kind == "missing":
        report.add(document, path[:-1], f"key {path[-1]!r} is missing")
    elif kind == "extra_forbidden":
        names = sorted(_field_names(model, loc[:-1]))
        key = str(path[-1])
        hint = did_you_mean(key, names)
        expected = "" if hint else f"one of {', '.join(names)}"
        report.add(document, path, f"unknown key {shorten(key)}", expected=expected, hint=hint, at_key=True)
    elif kind == "union_tag_invalid":
        tag = str(context["tag"])
        hint = did_you_mean(tag, STEP_OPS)
        report.add(
            document, (*path, "op"), f"unknown op {shorten(tag)}", expected=_one_of(STEP_OPS), hint=hint
        )
    elif kind == "union_tag_not_found":
        report.add(document, path, "key 'op' is missing", expected=_one_of(STEP_OPS))
    else:
        message, expected = _words(kind, item, context)
        if isinstance(document.root.nearest(path).value, dict):
            path = (*path, *getattr(context.get("error"), "path", ()))
        hint = ""
        if kind == "literal_error" and isinstance(item["input"], str):
            hint = did_you_mean(item["input"], [word.strip("'") for word in _choices(context)])
        report.add(document, path, message, expected=expected, hint=hint, at_key=at_key)


def _words(kind: str, item: Any, context: Mapping[str, Any]) -> tuple[str, str]:
    """Return message and expectation of an error that is about a value."""
    value = item["input"]
    if kind in _EXPECTED:
        return f"got {describe(value)}", _EXPECTED[kind]
    match kind:
        case "value_error":
            message, _, expected = str(context["error"]).rpartition("; expected ")
            return (message, expected) if message else (expected, "")
        case "literal_error":
            return f"unknown value {shorten(value)}", _one_of(_choices(context))
        case "greater_than_equal":
            return f"{shorten(value)} is too small", f"at least {context['ge']}"
        case "less_than_equal":
            return f"{shorten(value)} is too large", f"at most {context['le']}"
        case "too_short":
            return "empty", f"at least {context['min_length']}"
        case "too_long":
            return f"{context['actual_length']} entries", f"at most {context['max_length']}"
        case _:
            return f"{item['msg']}, got {describe(value)}", ""


def _choices(context: Mapping[str, Any]) -> list[str]:
    return str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", ")


def _one_of(words: list[str] | tuple[str, ...]) -> str:
    return f"one of {', '.join(words)}" if len(words) > 1 else words[0]


def _place(document: Document, prefix: Path, loc: Path) -> tuple[Path, bool]:
    """Turn pydantic's location into a path of the document, and tell whether the key is meant.

    Left out are the tag of a step's union, and the parts that exist only in the long form of filters when the
    short one (`{column: value}`) was written.
    """
    if loc[:1] == ("steps",) and len(loc) > 2 and loc[2] in STEP_OPS:
        loc = (*loc[:2], *loc[3:])
    path = list(prefix)
    node = document.root.nearest(prefix)
    for index, part in enumerate(loc):
        if part == "[key]":
            return tuple(path), True
        if isinstance(part, int) and isinstance(node.value, dict) and part < len(node.value):
            path.append(list(node.value)[part])
            return tuple(path), "column" in loc[index + 1 :]
        path.append(part)
        child = node.child(part)
        if child is None:
            break
        node = child
    return tuple(path), False


def _field_names(model: type[BaseModel], loc: Path) -> set[str]:
    """Return the keys that the model at `loc` knows."""
    found: list[Any] = [model]
    for part in loc:
        found = [inner for kind in found for inner in _inside(kind, part)]
    return {
        field.alias or name
        for kind in found
        for leaf in _leaves(kind)
        if isinstance(leaf, type) and issubclass(leaf, BaseModel)
        for name, field in leaf.model_fields.items()
    }


def _leaves(annotation: Any) -> Iterator[Any]:
    """Look through `Annotated` and unions."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _leaves(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for argument in get_args(annotation):
            yield from _leaves(argument)
    else:
        yield annotation


def _inside(annotation: Any, part: str | int) -> Iterator[Any]:
    """Yield the annotations that `part` of a location leads to: field, element, or member of a union."""
    leaves = list(_leaves(annotation))
    for leaf in leaves:
        if isinstance(leaf, type) and issubclass(leaf, BaseModel):
            if len(leaves) > 1 and part in STEP_OPS and _op(leaf) == part:
                yield leaf
            for name, field in leaf.model_fields.items():
                if part in (name, field.alias):
                    yield field.annotation
        elif get_origin(leaf) in (tuple, list) and isinstance(part, int):
            yield get_args(leaf)[0]
        elif get_origin(leaf) is dict and isinstance(part, str):
            yield get_args(leaf)[1]


def _op(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("op")
    if field is None or get_origin(field.annotation) is not Literal:
        return None
    return str(get_args(field.annotation)[0])
