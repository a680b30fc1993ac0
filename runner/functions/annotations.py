"""Annotations of a project's functions, as far as they say which values a YAML file may give.

The simple ones are understood: str, int, float, bool, list, dict, Path, None, Literal, and unions of them.
Whatever else a parameter is annotated with accepts every value.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

# For annotations that are text and whose names are imported for type checkers only.
_KNOWN = {
    "Annotated": Annotated, "Any": Any, "Literal": Literal, "Optional": typing.Optional, "Path": Path,
    "Union": Union,
}  # fmt: skip


def resolve(target: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    """Return the parameters' annotations as objects; those that cannot be resolved are left out."""
    names = _KNOWN | getattr(inspect.unwrap(target), "__globals__", {})
    resolved = {}
    for name, parameter in signature.parameters.items():
        if parameter.annotation is not parameter.empty:
            one = types.SimpleNamespace(__annotations__={name: parameter.annotation})
            try:
                resolved[name] = typing.get_type_hints(one, globalns=names)[name]
            except Exception:  # noqa: BLE001, S112 - an annotation may be any expression; not resolved: not checked
                continue
    return resolved


def accepts(annotation: Any, value: object) -> bool:
    """Tell whether a value fits an annotation; True for annotations that are not understood."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(accepts(choice, value) for choice in inner)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in inner)
    if annotation is Path:
        return isinstance(value, str | Path)
    if annotation in (int, float):  # a bool is no number here, and an int is also a float
        return isinstance(value, int if annotation is int else int | float) and not isinstance(value, bool)
    if annotation in (None, types.NoneType, str, bool):
        return isinstance(value, annotation or types.NoneType)
    if (origin or annotation) is list:
        return isinstance(value, list) and all(accepts(inner[0], item) for item in value if inner)
    if (origin or annotation) is dict:
        return isinstance(value, dict) and all(accepts(inner[1], item) for item in value.values() if inner)
    return True


def as_annotated(annotation: Any, value: Any) -> Any:
    """Return a str as `Path` where the annotation says Path and not also str, in lists too; the rest as it is."""
    inner = get_args(annotation)
    if isinstance(value, list) and get_origin(annotation) is list:
        return [as_annotated(inner[0], item) for item in value]
    choices = inner if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return Path(value) if isinstance(value, str) and Path in choices and str not in choices else value


def expectation(annotation: Any) -> str:
    """Return an annotation in words for an error message: `int`, `str | None`, `one of 'a', 'b'`."""
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(map(repr, get_args(annotation)))}"
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(expectation(choice) for choice in get_args(annotation))
    if annotation in (None, types.NoneType):
        return "null"
    return annotation.__name__ if type(annotation) is type else str(annotation)
