"""Which cells of a column are against an expectation: of Python values one by one, of an Arrow array at once.

Bounds and accepted values come as YAML has them, or typed by a declared column. Here they are read as the kind of
value that they are compared with; what cannot be read so equals nothing and bounds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from runner.specs import Expectation
from runner.types import arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

Holds = Callable[[Any], bool]


class CellTest:
    """One not_null, accepted or range. Tells of the cells of its column which are against it."""

    def __init__(self, expectation: Expectation) -> None:
        self._accepted = expectation.accepted
        self._range = expectation.range
        self._tests: dict[type, Holds] = {}

    def positions(self, values: Sequence[Any]) -> list[int]:
        """Return the positions of Python values that are against it."""
        if self._accepted is None and self._range is None:
            return [number for number, value in enumerate(values) if value is None]
        return [number for number, value in enumerate(values) if value is not None and not self._holds(value)]

    def mask(self, array: pa.Array) -> pa.Array:
        """Return for each cell of an Arrow array whether it is against it."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        if self._accepted is None and self._range is None:
            return array.is_null()
        try:
            holds = self._compared(array)
        except pa.ArrowException:
            holds = None
        if holds is None:  # one by one they can be compared exactly
            against = set(self.positions(array.to_pylist()))
            return pa.array([number in against for number in range(len(array))], pa.bool_())
        return pc.and_(array.is_valid(), pc.invert(pc.fill_null(holds, fill_value=False)))

    def _holds(self, value: Any) -> bool:
        test = self._tests.get(type(value))
        if test is None:
            test = self._tests[type(value)] = self._test_for(value)
        try:
            return test(value)
        except (TypeError, ArithmeticError):  # a naive time beside an aware one, a signalling NaN
            return False

    def _test_for(self, value: Any) -> Holds:
        """Return the test for values of this one's type."""
        family = family_of(value)
        if self._accepted is not None:
            known = {read for item in self._accepted.values if (read := read_as(family, item)) is not None}
            return lambda cell: cell in known
        low, high = (self._range.min, self._range.max) if self._range else (None, None)
        least, most = read_as(family, low), read_as(family, high)
        if (low is not None and least is None) or (high is not None and most is None):
            return lambda cell: False
        if most is None:
            return lambda cell: bool(cell >= least)
        if least is None:
            return lambda cell: bool(cell <= most)
        return lambda cell: bool(least <= cell <= most)

    def _compared(self, array: pa.Array) -> pa.Array | None:
        """Return for each cell whether it holds (NULL: null), or None where Arrow cannot tell exactly."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if (declared := _declared(array.type)) is None:
            return None
        given = self._accepted.values if self._accepted else (self._range.min, self._range.max)  # type: ignore[union-attr]
        typed = [None if item is None else _exact(declared, item) for item in given]
        if any(one is None and item is not None for one, item in zip(typed, given, strict=True)):
            return None
        scalars = pa.array(typed, arrow_type(declared))
        if self._accepted is not None:
            if declared == "float64":  # is_in tells -0.0 from 0.0
                array, scalars = pc.add(array, 0.0), pc.add(scalars, 0.0)
            return pc.is_in(array, value_set=scalars.cast(array.type))
        above = pc.greater_equal(array, scalars[0]) if typed[0] is not None else None
        below = pc.less_equal(array, scalars[1]) if typed[1] is not None else None
        return above if below is None else below if above is None else pc.and_(above, below)


def family_of(value: Any) -> str:
    """Return the kind of a value: within one kind values compare."""
    for kind, name in (
        (bool, "bool"),
        (int | float | Decimal, "number"),
        (str, "string"),
        (datetime, "timestamp"),
        (date, "date"),
        (bytes, "bytes"),
    ):
        if isinstance(value, kind):
            return name
    return ""


def read_as(family: str, item: Any) -> Any:
    """Return a declared value as one of this kind: quoted numbers and times are read. None: it cannot be one."""
    if item is None or family_of(item) == family:
        return item
    if not isinstance(item, str):
        return None
    try:
        match family:
            case "number":
                return Decimal(item)
            case "timestamp":
                return datetime.fromisoformat(item)
            case "date":
                return date.fromisoformat(item)
    except (ValueError, InvalidOperation):
        return None
    return None


def _declared(kind: pa.DataType) -> str | None:
    """Return the declared type that an Arrow type stands for, None for those that are compared one by one."""
    import pyarrow.types as kinds

    if kinds.is_integer(kind):
        return "int64"
    if kinds.is_floating(kind) and not kinds.is_float16(kind):
        return "float64"
    for declared in ("string", "numeric", "bool", "timestamp", "date"):
        if kind == arrow_type(declared):
            return declared
    return None


def _exact(declared: str, item: Any) -> Any:
    """Return a declared value as exactly one of the type, or None."""
    if declared == "float64":
        item = read_as("number", item)
        if item is None or isinstance(item, float):
            return item
        try:
            return float(item) if float(item) == item else None
        except OverflowError:
            return None
    families = {"int64": "number", "numeric": "number"}
    item = read_as(families.get(declared, declared), item)
    if declared == "int64":
        return item if type(item) is int and -(2**63) <= item < 2**63 else None
    if declared == "numeric":
        return item if isinstance(item, int | Decimal) else None
    if declared == "timestamp":
        return item if item is not None and item.tzinfo is not None else None
    return item
