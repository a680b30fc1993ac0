"""A project's function as the engine sees it: its shape, and which arguments it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from inspect import Parameter
from typing import TYPE_CHECKING, Any, Literal, Self

from runner.errors import did_you_mean
from runner.functions.annotations import accepts, as_annotated, expectation, resolve

if TYPE_CHECKING:
    from runner.ports import StopFlag

RESERVED = {"connection": "`connection: NAME`", "since": "`cursor: {…}`", "as_of": "", "stop": ""}
"""Arguments that the engine fills, and the key of the step that makes it do so (none: no key is needed)."""

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.VAR_POSITIONAL)
_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Function:
    """A function, named `module:function`. `shape` says what a `call` gives it: a row, or a record batch."""

    name: str
    target: Callable[..., Any]
    shape: Literal["row", "batch"]
    is_async: bool
    is_generator: bool
    signature: inspect.Signature

    @classmethod
    def of(cls, name: str, target: Callable[..., Any]) -> Self:
        """Look at a callable. Raises `ValueError` or `TypeError` for one that has no readable signature."""
        signature = inspect.signature(target)
        code: Any = target
        while isinstance(code, partial):
            code = code.func
        if not inspect.isroutine(code):
            code = type(code).__call__
        return cls(
            name=name,
            target=target,
            shape=_shape(signature),
            is_async=inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code),
            is_generator=inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code),
            signature=signature,
        )

    def problems(
        self, op: str, given: Mapping[str, object], *, connection: bool = False, cursor: bool = False
    ) -> list[tuple[str, str]]:
        """Return (argument, text) for everything that would make the call fail; argument "" is the function
        itself.

        `op`: call or extract. `given`: the step's `with`. `connection`, `cursor`: whether the step has these
        keys.
        """
        filled = {"connection": connection, "since": cursor, "as_of": True, "stop": op == "extract"}
        named = self._named(op)
        return [
            *self._shape_problems(op),
            *self._unknown(named, given),
            *self._unused(named, filled),
            *self._missing(named, given, filled),
            *self._mistyped(named, given),
        ]

    def arguments(
        self,
        given: Mapping[str, Any],
        *,
        connection: object = None,
        since: object = None,
        as_of: datetime | None = None,
        stop: StopFlag | None = None,
    ) -> dict[str, Any]:
        """Return the keyword arguments of a call: the given ones, and the reserved ones that it names.

        A str for a parameter annotated `Path` becomes a Path.
        """
        arguments = {name: as_annotated(self._annotations.get(name), value) for name, value in given.items()}
        reserved = {"connection": connection, "since": since, "as_of": as_of, "stop": stop}
        arguments.update(
            (name, value) for name, value in reserved.items() if name in self.signature.parameters
        )
        return arguments

    @cached_property
    def _annotations(self) -> dict[str, Any]:
        return resolve(self.target, self.signature)

    def _named(self, op: str) -> dict[str, Parameter]:
        """Return the parameters that are given by name; the first one of a `call` is the row or batch."""
        parameters = list(self.signature.parameters.values())[1 if op == "call" else 0 :]
        return {parameter.name: parameter for parameter in parameters if parameter.kind in _BY_NAME}

    def _shape_problems(self, op: str) -> Iterator[tuple[str, str]]:
        parameters = list(self.signature.parameters.values())
        if op == "call":
            if not parameters or parameters[0].kind not in _POSITIONAL:
                yield "", f"{self.name} takes no row; expected it as the first parameter"
            elif _type_name(parameters[0]) == "Table":
                yield "", f"{self.name} takes a Table; expected a row (dict) or a pyarrow.RecordBatch"
            elif self.shape == "batch" and self.is_generator:
                yield (
                    "",
                    f"{self.name} takes a record batch and yields; expected one record batch",
                )
        for parameter in parameters[1 if op == "call" else 0 :]:
            if parameter.kind is Parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
                yield (
                    parameter.name,
                    f"{self.name} takes {parameter.name!r} by position only; expected by name",
                )

    def _unknown(self, named: Mapping[str, object], given: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        takes_any = any(p.kind is Parameter.VAR_KEYWORD for p in self.signature.parameters.values())
        for name in given:
            if name in RESERVED:
                yield name, f"{name!r} is filled by the engine and cannot be given"
            elif name not in named and not (takes_any and name not in self.signature.parameters):
                hint = did_you_mean(name, [known for known in named if known not in RESERVED])
                yield name, f"{self.name} takes no argument {name!r}" + (f", {hint}" if hint else "")

    def _unused(self, named: Mapping[str, object], filled: Mapping[str, bool]) -> Iterator[tuple[str, str]]:
        for name, key in RESERVED.items():
            if key and filled[name] and name not in named:
                yield name, f"the step has {key}, but {self.name} has no parameter {name!r} to take it"

    def _missing(
        self, named: Mapping[str, Parameter], given: Mapping[str, object], filled: Mapping[str, bool]
    ) -> Iterator[tuple[str, str]]:
        for name, parameter in named.items():
            if parameter.default is not parameter.empty or name in given or filled.get(name):
                continue
            how = _needed(name, RESERVED[name]) if name in RESERVED else ""
            yield name, f"{self.name} needs an argument {name!r}{how}"

    def _mistyped(
        self, named: Mapping[str, object], given: Mapping[str, object]
    ) -> Iterator[tuple[str, str]]:
        for name, value in given.items():
            wanted = self._annotations.get(name, Any)
            if name in named and not accepts(wanted, value):
                yield name, f"{name!r} is {value!r}; {self.name} expects {expectation(wanted)}"


def _needed(name: str, key: str) -> str:
    return f"; the step needs {key}" if key else f"; only an extract has {name!r}"


def _shape(signature: inspect.Signature) -> Literal["row", "batch"]:
    first = next(iter(signature.parameters.values()), None)
    return "batch" if first is not None and _type_name(first) == "RecordBatch" else "row"


def _type_name(parameter: Parameter) -> str:
    """Return the last word of a parameter's annotation, without importing what it names."""
    annotation = parameter.annotation
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return text.strip("'\" ").rpartition(".")[2]
