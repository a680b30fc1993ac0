"""A project's function as the engine sees it: its shape, and which arguments it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from runner.errors import did_you_mean
from runner.functions.annotations import accepts, as_annotated, resolve, wanted_text

RESERVED = ("connection", "since", "as_of")
"""Arguments that the engine fills."""


@dataclass(frozen=True)
class Function:
    """A function by its name `module:name`. `shape` says what a `call` hands it: rows one by one, or record batches."""

    name: str
    target: Callable[..., Any]
    shape: Literal["row", "batch"]
    is_async: bool
    is_generator: bool
    signature: inspect.Signature

    @classmethod
    def of(cls, name: str, target: Callable[..., Any]) -> Self:
        """Look at a callable. Raises `ValueError` or `TypeError` when it has no signature to look at."""
        signature = inspect.signature(target)
        code = target if inspect.isroutine(target) else type(target).__call__
        asynchronous = inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code)
        generator = inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code)
        return cls(name, target, _shape(signature), asynchronous, generator, signature)

    @cached_property
    def _annotations(self) -> dict[str, Any]:
        return resolve(self.target, self.signature)

    def _named(self, op: str) -> dict[str, inspect.Parameter]:
        """Return the parameters that can be given by name, without the row or batch of a `call`."""
        parameters = list(self.signature.parameters.values())
        skipped = 1 if op == "call" else 0
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return {p.name: p for p in parameters[skipped:] if p.kind in by_name}

    def problems(
        self, op: str, given: Mapping[str, object], *, connection: bool = False, cursor: bool = False
    ) -> list[tuple[str, str]]:
        """Return (argument, text) of everything that would make the call fail.

        `op`: call or extract. `given`: the step's `with`. `connection`, `cursor`: whether the step has these keys.
        """
        named = self._named(op)
        return [
            *self._unknown(named, given),
            *self._missing(named, given, connection=connection, cursor=cursor),
            *self._mistyped(named, given),
        ]

    def arguments(
        self, given: Mapping[str, Any], *, connection: object = None, since: object = None, as_of: datetime | None = None
    ) -> dict[str, Any]:
        """Return the keyword arguments of a call. The reserved ones are among them if the signature takes them."""
        annotations = self._annotations
        arguments = {name: as_annotated(annotations.get(name), value) for name, value in given.items()}
        reserved = {"connection": connection, "since": since, "as_of": as_of}
        arguments.update((name, value) for name, value in reserved.items() if name in self.signature.parameters)
        return arguments

    def _unknown(self, named: Mapping[str, Any], given: Mapping[str, object]) -> list[tuple[str, str]]:
        any_name = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in self.signature.parameters.values())
        problems = []
        for name in given:
            if name in RESERVED:
                problems.append((name, f"{name!r} is filled by the engine and cannot be given"))
            elif name not in named and not any_name:
                near = did_you_mean(name, [n for n in named if n not in RESERVED])
                problems.append((name, f"{self.name} takes no argument {name!r}" + (f" ({near})" if near else "")))
        return problems

    def _missing(
        self, named: Mapping[str, inspect.Parameter], given: Mapping[str, object], *, connection: bool, cursor: bool
    ) -> list[tuple[str, str]]:
        there = {*given, "as_of"}
        there |= {"connection"} if connection else set()
        there |= {"since"} if cursor else set()
        keys = {"connection": "connection:", "since": "cursor:"}
        return [
            (name, f"{self.name} needs {name!r}: give the step a `{keys[name]}` key" if name in keys
             else f"{self.name} needs an argument {name!r}")
            for name, parameter in named.items()
            if parameter.default is parameter.empty and name not in there
        ]  # fmt: skip

    def _mistyped(self, named: Mapping[str, Any], given: Mapping[str, object]) -> list[tuple[str, str]]:
        return [
            (name, f"{name!r} is {value!r}; expected {wanted_text(self._annotations[name])}")
            for name, value in given.items()
            if name in named and name in self._annotations and not accepts(self._annotations[name], value)
        ]


def _shape(signature: inspect.Signature) -> Literal["row", "batch"]:
    first = next(iter(signature.parameters.values()), None)
    annotation = first.annotation if first else None
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return "batch" if name.strip("'\"").rpartition(".")[2] == "RecordBatch" else "row"
