"""Where the outputs of a row function are collected until there are enough of them for a batch.

All outputs stand in one flat list, `width` values each, in the order of the columns: `values[2::width]` is
the third column. Measured, it is the cheapest form (no tuple or dictionary an output for the garbage
collector to follow), and taking back the outputs of a row that failed is one `del`.
"""

from __future__ import annotations

import reprlib
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from inspect import iscoroutine
from operator import itemgetter
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from runner.errors import FunctionFailed, did_you_mean, text_of

if TYPE_CHECKING:
    from runner.ports import Row, StopFlag

ROW_ERRORS = (ValueError, KeyError, TypeError)
"""What a function raises for a row that is bad (pydantic's ValidationError is a ValueError); anything else
fails the step. REQUIREMENTS, callable error handling.
"""

FAILURES = (Exception, SystemExit)
"""What a project's function may raise that fails its step; a call of `sys.exit` must not end the engine."""

MAX_REASON = 1000
"""Characters of a reason that are kept."""

LOOK_EVERY = 128
"""Outputs between two looks at their size, once several looks have found only small ones."""

SMALL = 4096
"""Bytes of a small output; after a larger one each is looked at."""

_ITERATED = frozenset({list, tuple, GeneratorType})  # which need no slow look


class Stopped(Exception):
    """The stop flag was raised: the loop ended between two rows. Internal to a step; never a failure."""


@dataclass(frozen=True, slots=True)
class RowFailure:
    """An input row that gives nothing, because its function raised: position, error, and `file:line`."""

    index: int
    error: Exception
    location: str = ""

    @property
    def reason(self) -> str:
        """The error on one line, with the place in the project's code that raised it."""
        what = f"missing key {self.error}" if isinstance(self.error, KeyError) else text_of(self.error)
        what = " ".join(what.encode("utf-8", "backslashreplace").decode().split())
        text = f"{type(self.error).__name__}: {what}"[:MAX_REASON]
        return f"{text} ({self.location})" if self.location else text


@dataclass(slots=True)
class Drained:
    """Some outputs of a row function and the input rows that failed meanwhile. `length` counts outputs, which
    stand in `columns` (lists by name) when names were given, else in `rows`.
    """

    length: int
    columns: dict[str, list[Any]] | None = None
    rows: list[Row] | None = None
    failures: list[RowFailure] = field(default_factory=list)


class TornRow(Exception):
    """An input row that failed after some of its outputs had gone on: it cannot be left out any more."""

    def __init__(self, index: int, error: Exception) -> None:
        super().__init__(index, error)
        self.index = index
        self.error = error

    def __str__(self) -> str:
        return (
            f"input row {self.index} of its batch failed after some of its outputs had been passed on:"
            f" {type(self.error).__name__}: {self.error}"
        )


class Collector:
    """Outputs on their way into batches of at most `chunk_rows` rows and about `chunk_bytes` bytes.

    A loop notes before each input row how many `values` there are (its `mark`) and adds its outputs, or `reject`s
    it. After `patience` outputs it asks whether the collector is `full`, and then passes on what is `ready`
    (between two input rows) or `spill`s (within one). `names` are the columns to collect; None collects whole rows.
    """

    def __init__(
        self, function: str, names: Sequence[str] | None, chunk_rows: int, chunk_bytes: int, stop: StopFlag
    ) -> None:
        self._function = function
        self._names = tuple(names) if names is not None else None
        self.values: list[Any] = []
        self._width = max(1, len(self._names or ()))
        self.add = self._adder(stop)
        self._stop = stop
        self.patience = 1
        self._max_values = chunk_rows * self._width
        self._max_bytes = chunk_bytes
        self._bytes = 0
        self._weighed = 0  # how many values _bytes stands for
        self._torn = -1  # index of the latest input row of which a part has gone on
        self._failures: list[RowFailure] = []

    def __bool__(self) -> bool:
        """Tell whether there is anything to pass on."""
        return bool(self.values or self._failures)

    def _adder(self, stop: StopFlag) -> Callable[[Iterable[Any]], int]:
        """Return the function `add`: take outputs and return how many they were.

        It raises `TypeError` for what is no row, `ValueError` for a column that nobody wants, and `Stopped`. It is a
        closure because looking up all these names for each input row would be a twentieth of the whole time.
        """
        values, extend, width = self.values, self.values.extend, self._width
        exact = len(self._names) if self._names else -1  # whole rows all go through `fit`
        pick = _picker(self._names or ())
        fit = _as_row if self._names is None else self._as_columns

        def add(outputs: Iterable[Any]) -> int:
            before = len(values)
            for output in outputs:
                # Most outputs have exactly the wanted keys: as many, and each of them is found.
                if type(output) is dict and len(output) == exact:
                    try:
                        extend(pick(output))
                    except KeyError:
                        extend(fit(output))
                else:
                    extend(fit(output))
                if stop.stopped:
                    raise Stopped
            return (len(values) - before) // width

        return add

    def check_stop(self) -> None:
        """Raise `Stopped` when the flag is up."""
        if self._stop.stopped:
            raise Stopped

    def reject(self, index: int, mark: int, error: Exception) -> None:
        """Take back what the input row at `index` gave, and keep why.

        Raises `FunctionFailed` when part of it has gone on already: then only the step as a whole can fail.
        """
        if self._torn == index:
            raise FunctionFailed(self._function, TornRow(index, error)) from error
        del self.values[mark:]
        self._weighed = min(self._weighed, mark)
        location = FunctionFailed(self._function, error).location
        self._failures.append(RowFailure(index, error, location))
        error.__traceback__ = None  # it holds the frame of the loop, and with it every row of the batch

    def full(self) -> bool:
        """Tell whether it is time to pass something on, and set `patience` anew.

        The last output is weighed and stands for those since the one before. Large ones are weighed one by one;
        after small ones `patience` doubles, as long as their number allows.
        """
        count, width = len(self.values), self._width
        size = weigh(self.values[-width:])
        self._bytes += size * max(0, count - self._weighed) // width
        self._weighed = count
        patience = 1 if size > SMALL else min(2 * self.patience, LOOK_EVERY)
        self.patience = max(1, min(patience, (self._max_values - count) // width))
        return count >= self._max_values or self._bytes >= self._max_bytes

    def ready(self) -> Iterator[Drained]:
        """Pass on as many full batches as there are, between two input rows."""
        count, piece = len(self.values) // self._width, self._max_values
        if self._bytes > self._max_bytes:
            piece = min(piece, max(1, count * self._max_bytes // self._bytes) * self._width)
        while len(self.values) >= piece:
            yield self._take(piece)

    def spill(self, index: int, mark: int) -> Drained:
        """Pass on a batch within the input row at `index`: what came before it, or if nothing did, its own outputs.

        Its mark is 0 from then on.
        """
        if not mark:
            self._torn = index
        return self._take(mark or len(self.values))

    def rest(self) -> Drained:
        """Pass on everything that is left."""
        return self._take(len(self.values))

    def _take(self, end: int) -> Drained:
        values, width = self.values, self._width
        drained = Drained(end // width, failures=self._failures)
        if self._names is None:
            drained.rows = values[:end]
        else:
            drained.columns = {name: values[i:end:width] for i, name in enumerate(self._names)}
        del values[:end]
        self._failures = []
        self._bytes = self._bytes * len(values) // max(1, len(values) + end)
        self._weighed = min(self._weighed, len(values))
        return drained

    def _as_columns(self, output: Any) -> Sequence[Any]:
        """Return the values of an output whose keys are not exactly the columns: what it lacks is None."""
        names = self._names or ()
        row = _checked(output)
        if not row.keys() <= set(names):
            name = next(name for name in row if name not in names)
            hint = did_you_mean(str(name), names)
            raise ValueError(
                f"unknown column {name!r}; expected one of {', '.join(names)}" + (f", {hint}" if hint else "")
            )
        return list(map(row.get, names))


def outputs_of(result: Any, single: type | tuple[type, ...] = dict) -> Iterable[Any]:
    """Return the outputs in what a function returned: none for None, one for a `single`, else the items.

    Raises `TypeError` for what has no items.
    """
    if type(result) in _ITERATED:
        return result  # type: ignore[no-any-return]
    if result is None:
        return ()
    if isinstance(result, single):
        return (result,)
    if iscoroutine(result):
        result.close()
        raise TypeError("returned a coroutine; a function that awaits must itself be declared `async def`")
    if isinstance(result, AsyncIterable):
        raise TypeError("returned an async iterable; its function must itself be declared `async def`")
    if isinstance(result, str | bytes) or not isinstance(result, Iterable):
        raise TypeError(_no_row(result))
    return result


def weigh(values: Iterable[Any]) -> int:
    """Return about how many bytes values hold in memory; text and bytes count by their length."""
    size = 0
    for value in values:
        kind = type(value)
        if kind is str or kind is bytes:
            size += 50 + len(value)
        elif kind is dict:
            size += 100 + weigh(value.values())
        elif kind is list:
            size += 60 + weigh(value)
        else:
            size += 40
    return size


def _as_row(output: Any) -> Sequence[Any]:
    """Return an output as one value. A copy: a generator may change its dictionary and yield it again."""
    return (dict(_checked(output)),)


def _checked(output: Any) -> Row:
    if not isinstance(output, dict):
        raise TypeError(_no_row(output))
    return output


def _no_row(value: object) -> str:
    shown = " ".join(reprlib.repr(value).split())
    return f"gave {type(value).__name__} {shown}; expected a row (dict), rows, or None"


def _picker(names: tuple[str, ...]) -> Callable[[Any], Sequence[Any]]:
    """Return what takes the named values out of a dictionary, as a sequence."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda row: [row[name] for name in names]
