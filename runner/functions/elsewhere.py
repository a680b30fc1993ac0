"""What a function, and what it is given, must be like to be called in another process."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from typing import Any

from runner.functions.function import Function


def process_problems(
    function: Function, given: Mapping[str, Any], connection: object
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (keys below the step, text) for everything that keeps a call from worker processes.

    `given`: the step's `with`. `connection`: the object of the settings, None when the step has none; settings that
    were made in Python may hold anything.
    """
    if function.is_async:
        text = f"{function.name} is a coroutine, which runs on the event loop"
        yield ("runs_in",), f"{text}; expected a plain function, or runs_in: thread"
    if function.name.startswith("__main__:"):
        text = f"{function.name} cannot be imported by another process"
        yield ("function",), f"{text}; expected a function of a module"
    values: list[tuple[tuple[str, ...], object]] = [(("with", name), value) for name, value in given.items()]
    for keys, value in [*values, (("connection",), connection)]:
        try:
            pickle.loads(pickle.dumps(value))  # noqa: S301 - what was pickled in this line
        except Exception as error:  # noqa: BLE001 - whatever the value's class raises
            kind = f"{type(error).__name__}: {error}"
            text = f"cannot go to another process ({kind})"
            yield keys, f"{text}; expected a value that can be pickled, or runs_in: thread"
