"""The function behind an extract: the project's own, or one of the sources that the engine brings along."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from runner.functions.function import Function
from runner.functions.loading import load_function

if TYPE_CHECKING:
    from runner.settings import Connection
    from runner.specs import ExtractSpec


def load_extract(spec: ExtractSpec) -> Function:
    """Return the function that an extract calls. Raises `FunctionNotFound`.

    A source with a resource is a bridge: what it names makes the function of the resource.
    """
    function = load_function(spec.callee)
    if spec.resource is not None:
        function = function.target(spec.resource)
    return replace(function, name=spec.origin)


def source_problems(spec: ExtractSpec, connection: Connection | None) -> Iterator[tuple[str, str]]:
    """Yield (argument, text) for what a source's own check finds beyond the signature; argument "" is the step.

    A source module that has more to say than its signature has a function `problems` for it. `connection`: the object
    of the settings, None when the step has none.
    """
    module = importlib.import_module(spec.callee.partition(":")[0])
    check = getattr(module, "problems", None) if spec.source else None
    if check is not None:
        yield from check(spec.with_, connection=connection, cursor=spec.cursor)
