"""Names of variables: those that are settings, and those that must be misspelt ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic_settings import BaseSettings

from runner.errors import Problem, did_you_mean
from runner.settings.places import ENV_PREFIX
from runner.settings.sources import OWN_VARIABLES, is_too_deep, keys_of, names_of

if TYPE_CHECKING:
    from runner.settings.toml_lines import Keys


def variables() -> Iterator[tuple[str, Keys | None, str]]:
    """Yield every variable with our prefix that is to be a setting: name, keys (None: not a name), value."""
    for variable, value in sorted(os.environ.items()):
        name = variable.upper().removeprefix(ENV_PREFIX)
        if name != variable.upper() and name not in OWN_VARIABLES:
            yield variable, keys_of(name), value


def misspelt(settings: type[BaseSettings]) -> list[Problem]:
    """Return a problem for every variable that must be a misspelt setting: the library skips it.

    Others may have variables that merely begin like ours: Kubernetes, for one, sets
    RUN_PIPELINE_SERVICE_HOST for a service called run-pipeline.
    """
    problems = []
    for variable, keys, _ in variables():
        name = variable[len(ENV_PREFIX) :].lower()
        wrong = _what_is_wrong(settings, name, keys)
        if wrong:
            problems.append(
                Problem(
                    file=f"environment variable {variable}",
                    path=name.replace("__", "."),
                    message="unknown setting",
                    expected=wrong[0],
                    hint=wrong[1],
                )
            )
    return problems


def _what_is_wrong(settings: type[BaseSettings], name: str, keys: Keys | None) -> tuple[str, str] | None:
    """Return what was expected instead of `name`, or a hint; None for a setting and for what is not ours."""
    known = names_of(settings)
    first = name.partition("__")[0]
    if first in known:
        if keys is None:
            return "a name after every two underscores", ""
        return (f"{ENV_PREFIX}{first.upper()}", "") if is_too_deep(settings, keys) else None
    hint = did_you_mean(first, known)
    if hint or "__" in name:
        return "" if hint else f"one of {', '.join(known)}", hint
    return None
