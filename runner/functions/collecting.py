"""Where the outputs of a row function are collected until there are enough of them for a batch.

All outputs stand in one flat list, `width` values each, in the order of the columns: `values[2::width]` is the third
column. It is the cheapest form (nothing for the garbage collector to look at), and taking back the outputs of a
row that failed is one `del`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from runner.errors import FunctionFailed, did_you_mean
from runner.ports import Row

ROW_ERRORS = (ValueError, KeyError, TypeError)
"""What a row function raises for a row that is bad (pydantic's ValidationError is a ValueError). Anything else
fails the step: REQUIREMENTS, callable error handling."""

MAX_REASON = 1000
"""Characters of a reason that are kept."""

_LOOK_EVERY = 64  # outputs between two looks at their size, while they are small
_SMALL = 4096  # bytes: larger outputs are looked at one by one


class Stopped(Exception):
    """The stop flag was raised: the loop ended between two rows. Internal to a step; never a failure."""


@dataclass(frozen=True, slots=True)
class RowFailure:
    """An input row that gave nothing because its function raised: its position in the input, and the error."""

    index: int
    error: Exception
    location: str = ""

    @property
    def reason(self) -> str:
        """The error in one line, with the line of the project's code that raised it."""
        error = self.error
        text = f"missing key {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        text = f"{type(error).__name__}: {text}"[:MAX_REASON]
        return f"{text} ({self.location})" if self.location else text


@dataclass(slots=True)
class Drained:
    """Some outputs of a row function, as `columns` (when the names were given) or `rows`, and the rows that failed.

    `length` counts outputs. `first` and `starts` say which input row an output came from, see `source`.
    """

    length: int
    columns: dict[str, list[Any]] | None = None
    rows: list[Row] | None = None
    failures: list[RowFailure] = field(default_factory=list)
    first: int = 0
    starts: list[int] = field(default_factory=list)

    def source(self, position: int) -> int:
        """Return the index of the input row that the output at `position` came from."""
        return self.first + bisect_right(self.starts, position) - 1


class Collector:
    """Outputs of a row function on their way into batches of at most `chunk_rows` rows or about `chunk_bytes` bytes.

    A loop calls `begin` for each input row, adds values (see `runner.functions.rows`), `reject`s the row if it
    failed, and flushes when `full`. `names`: the columns to collect; None collects whole rows.
    """

    def __init__(self, function: str, names: Sequence[str] | None, chunk_rows: int, chunk_bytes: int) -> None:
        self.function = function
        self.names = tuple(names) if names is not None else None
        self.exact = len(self.names) if self.names is not None else -1
        self.width = max(self.exact, 1)
        self.pick = _picker(self.names)
        self.fit: Callable[[Any], Sequence[Any]] = self._fit_row if self.names is None else self._fit_columns
        self.values: list[Any] = []
        self.due = self.width  # number of values at which `full` wants to be asked
        self._limit = chunk_rows * self.width
        self._max_bytes = chunk_bytes
        self._bytes = 0
        self._seen = 0  # number of values whose size is in _bytes
        self._index = 0
        self._mark = 0  # where the values of the current input row begin
        self._spilled = False
        self._first = 0
        self._starts: list[int] = []
        self._failures: list[RowFailure] = []

    def begin(self, index: int) -> None:
        """Start with the input row at `index`."""
        self._index = index
        self._mark = len(self.values)
        self._starts.append(self._mark)
        self._spilled = False

    def add(self, output: Any) -> None:
        """Take one output. Raises `TypeError` or `ValueError` when it is not a row of the expected columns."""
        if type(output) is dict and len(output) == self.exact:
            try:
                self.values.extend(self.pick(output))
            except KeyError:
                self.values.extend(self.fit(output))
        else:
            self.values.extend(self.fit(output))

    def reject(self, error: Exception) -> None:
        """Take back what the current input row gave, and note why.

        Raises `FunctionFailed` when part of it already went to the consumer: then only the step as a whole can fail.
        """
        if self._spilled:
            raise FunctionFailed(self.function, _TornRow(self._index, error)) from error
        del self.values[self._mark :]
        self._seen = min(self._seen, self._mark)
        self._failures.append(RowFailure(self._index, error, _location(error)))
        error.__traceback__ = None  # it would keep the loop's frame, and with it all its rows, alive

    def full(self) -> bool:
        """Tell whether it is time to flush; the question costs little and says by `due` when to ask again."""
        values, width = self.values, self.width
        added = (len(values) - self._seen) // width
        if added <= 0:
            step = _LOOK_EVERY
        else:
            size = _size(values[-width:])
            self._bytes += size * added
            self._seen = len(values)
            step = 1 if size > _SMALL else _LOOK_EVERY
        self.due = min(len(values) + step * width, self._limit)
        return len(values) >= self._limit or self._bytes >= self._max_bytes

    def flush(self) -> Drained:
        """Return everything and start anew; between two input rows."""
        drained = self._drain(len(self.values))
        self._first = self._index + 1
        self._starts = []
        return drained

    def spill(self) -> Drained:
        """Return what there is in the middle of an input row: the rows before it, or, if it fills a batch alone,
        its outputs so far.
        """
        self._spilled = self._spilled or not self._mark
        drained = self._drain(self._mark or len(self.values))
        self._first = self._index
        self._starts = [0]
        self._mark = 0
        return drained

    def rest(self) -> bool:
        """Tell whether there is something left to flush."""
        return bool(self.values or self._failures)

    def _drain(self, stop: int) -> Drained:
        width = self.width
        values = self.values[:stop]
        del self.values[:stop]
        self._bytes = 0
        self._seen = 0
        self.due = width
        starts = [start // width for start in self._starts if start <= stop]
        drained = Drained(stop // width, failures=self._failures, first=self._first, starts=starts)
        self._failures = []
        if self.names is None:
            drained.rows = values
        else:
            drained.columns = {name: values[column::width] for column, name in enumerate(self.names)}
        return drained

    def _fit_row(self, output: Any) -> Sequence[Any]:
        if not isinstance(output, dict):
            raise TypeError(_not_a_row(output))
        # A copy: a generator may yield the same dictionary again with other values.
        return (dict(output),)

    def _fit_columns(self, output: Any) -> Sequence[Any]:
        if not isinstance(output, dict):
            raise TypeError(_not_a_row(output))
        names = self.names or ()
        unknown = output.keys() - set(names)
        if unknown:
            name = next(name for name in output if name in unknown)
            near = did_you_mean(str(name), names)
            hint = f", {near}" if near else ""
            raise ValueError(f"unknown column {name!r}; expected one of {', '.join(names)}{hint}")
        return [output.get(name) for name in names]


class _TornRow(Exception):
    """A row that failed when some of its outputs had already gone on."""

    def __init__(self, index: int, error: Exception) -> None:
        super().__init__(index, error)
        self.index = index
        self.error = error

    def __str__(self) -> str:
        return (
            f"{type(self.error).__name__}: {self.error} on input row {self.index}, after some of its outputs had"
            " already been passed on"
        )


def _picker(names: tuple[str, ...] | None) -> Callable[[Any], Sequence[Any]]:
    if names is None or len(names) > 1:
        return itemgetter(*names or ("", ""))
    return lambda row: (row[names[0]],)


def _not_a_row(output: object) -> str:
    return f"returned {type(output).__name__} {str(output)[:60]!r}; expected a row (dict), rows, or None"


def _size(values: Sequence[Any]) -> int:
    """Return about how many bytes the values hold: exact for text and bytes, 64 for anything else."""
    size = 0
    for value in values:
        kind = type(value)
        if kind is str or kind is bytes:
            size += len(value) + 50
        elif kind is dict:
            size += 200 + _size(list(value.values()))
        elif kind is list:
            size += 60 + _size(value)
        else:
            size += 32
    return size


def _location(error: BaseException) -> str:
    return FunctionFailed("", error).location
