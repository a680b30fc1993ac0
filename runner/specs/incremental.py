"""Which rows of a source are new, as it is declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, model_validator

from runner.specs.names import Duration, Flag, Identifier, Identifiers, Misfit, Spec, TableRef


def _incremental_mode(value: object) -> object:
    if value not in ("not_exists", "left_anti"):
        shown = value if isinstance(value, str) and value.isprintable() else repr(value)
        raise ValueError(f"Unknown incremental mode: {shown}; expected not_exists or left_anti")
    return value


class Lookback(Spec):
    """How far back an incremental read looks, on both sides: rows whose time is at most `window` seconds before the
    run's logical time, and those whose time is NULL, which would be lost otherwise. `column` names the time on both
    sides, or `source_column` and `target_column` do.
    """

    column: Identifier | None = None
    source_column: Identifier | None = None
    target_column: Identifier | None = None
    window: Duration

    @property
    def source(self) -> str:
        """The time column of the source."""
        return str(self.column or self.source_column)

    @property
    def target(self) -> str:
        """The time column of the target."""
        return str(self.column or self.target_column)

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        sides = {"source_column": self.source_column, "target_column": self.target_column}
        given = [name for name, column in sides.items() if column]
        if self.column and given:
            raise Misfit(f"column names the time of both sides; expected no {given[0]}", given[0])
        if not self.column and len(given) < len(sides):
            missing = next((name for name in sides if name not in given), "") if given else "column"
            raise ValueError(
                f"a lookback needs the time column of both sides; expected {missing}"
                + ("" if given else ", or source_column and target_column")
            )
        return self


class Incremental(Spec):
    """Which source rows are new: those without a counterpart in the target (`not_exists`), or also those
    whose counterpart is older (`left_anti`: `target_ts < source_ts`). Keys are one column or several.

    `key_prefix`/`key_suffix`: the target key is prefix + source key + suffix (single string key only).
    `remember_empty`: a key that was read but gave no row in the target is remembered and not read again.
    `lookback`: only so much of both tables is looked at.
    """

    mode: Annotated[Literal["not_exists", "left_anti"], BeforeValidator(_incremental_mode)]
    target_dataset: Identifier
    target_table: Identifier
    source_key: Identifiers
    target_key: Identifiers
    source_ts: Identifier | None = None
    target_ts: Identifier | None = None
    key_prefix: str = ""
    key_suffix: str = ""
    remember_empty: Flag = True
    lookback: Lookback | None = None

    @property
    def target(self) -> TableRef:
        """The table that is compared with."""
        return TableRef(self.target_dataset, self.target_table)

    @model_validator(mode="before")
    @classmethod
    def _join_key_suffix(cls, data: Any) -> Any:
        """`join_key_suffix: x` is the older spelling of `key_suffix: '#x'`."""
        if isinstance(data, Mapping) and "join_key_suffix" in data:
            if "key_suffix" in data:
                raise ValueError("join_key_suffix and key_suffix exclude each other")
            data = dict(data)
            data["key_suffix"] = f"#{data.pop('join_key_suffix')}"
        return data

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        if len(self.source_key) != len(self.target_key):
            raise Misfit(
                f"{len(self.target_key)} key columns; expected {len(self.source_key)}, as in source_key",
                "target_key",
            )
        if (self.key_prefix or self.key_suffix) and len(self.source_key) > 1:
            raise Misfit("key_prefix and key_suffix need a single key column; expected one", "source_key")
        stamps = (self.source_ts, self.target_ts)
        if self.mode == "left_anti" and not all(stamps):
            raise ValueError(
                "left_anti without both times; expected source_ts and target_ts, or mode not_exists"
            )
        if self.mode == "not_exists" and any(stamps):
            raise Misfit(
                "not_exists compares no times; expected neither source_ts nor target_ts, or mode left_anti",
                "mode",
            )
        return self
