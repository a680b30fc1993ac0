"""Annotations of a project's functions, as far as they say which values a YAML file may give.

Only the simple ones are understood: str, int, float, bool, list, dict, Path, None, unions and Literal of them. Whatever
else a function is annotated with accepts every value.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

# For annotations that are strings and whose names are imported only under TYPE_CHECKING.
_KNOWN = {"Path": Path, "Literal": Literal, "Any": Any, "Union": Union, "Optional": typing.Optional}


def resolve(target: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    """Return the annotations of the parameters as objects; those that cannot be resolved are left out."""
    names = {**_KNOWN, **getattr(inspect.unwrap(target), "__globals__", {})}
    resolved = {}
    for name, parameter in signature.parameters.items():
        if parameter.annotation is not parameter.empty:
            holder = types.SimpleNamespace(__annotations__={name: parameter.annotation})
            try:
                resolved[name] = typing.get_type_hints(holder, globalns=names)[name]
            except Exception:  # noqa: BLE001, S112 - evaluating someone else's annotation; unknown ones are accepted
                continue
    return resolved


def accepts(annotation: Any, value: object) -> bool:
    """Tell whether a value fits an annotation; True for annotations that are not understood."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(accepts(choice, value) for choice in inner)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in inner)
    if annotation in (None, type(None)):
        return value is None
    if annotation is Path:
        return isinstance(value, str | Path)
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation is str:
        return isinstance(value, str | Path)
    kind = origin or annotation
    return isinstance(value, kind) if kind in (str, bool, list, dict) else True


def as_annotated(annotation: Any, value: Any) -> Any:
    """Return a str as a `Path`, or a `Path` as a str, where the annotation wants only the other.

    A parameter of type `path` is a `Path`; a function that takes a str means its text.
    """
    choices = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    if isinstance(value, str) and Path in choices and str not in choices:
        return Path(value)
    if isinstance(value, Path) and str in choices and Path not in choices:
        return str(value)
    return value


def wanted_text(annotation: Any) -> str:
    """Return an annotation as a reader would write it."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
