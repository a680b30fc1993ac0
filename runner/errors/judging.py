"""What to make of an error: its category, whether trying again may help, and which name was meant."""

from __future__ import annotations

from collections.abc import Iterable
from errno import EDQUOT, EFBIG, ENOSPC

from runner.errors.engine import RunPipelineError
from runner.errors.functions import FunctionFailed


def category_of(error: BaseException) -> str:
    """Return the stable category word of any exception: its own, or `disk_full`, or `bug` for the unknown."""
    if isinstance(error, RunPipelineError):
        return error.category
    if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT, EFBIG):  # EFBIG: `ulimit -f`
        return "disk_full"
    return "bug"


def is_retryable(error: BaseException) -> bool:
    """Tell whether trying again may help. A function's own `TimeoutError` or `ConnectionError` counts as
    transient (REQUIREMENTS: the built-in TimeoutError is mapped to a transient error); the unknown does not.
    """
    if isinstance(error, FunctionFailed):
        return isinstance(error.error, TimeoutError | ConnectionError)
    return isinstance(error, RunPipelineError) and error.retryable


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return "did you mean 'x'?" with the name that is nearest to `word`, or "" when none is near."""
    from difflib import get_close_matches

    by_fold = {name.casefold(): name for name in names}
    near = get_close_matches(word[:100].casefold(), by_fold, n=1, cutoff=0.6)
    return f"did you mean {by_fold[near[0]]!r}?" if near else ""
