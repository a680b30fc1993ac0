"""What a questionnaire is, as data: answer scales, items, and measures with the published rule of their
score.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Method = Literal["sum", "average", "sum_then_double"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerScale:
    """What may be answered to an item: `responses` maps the wording, in lower case, to its value.

    `aliases` maps other wordings, in lower case, to one of `responses`.
    """

    responses: dict[str, int]
    aliases: dict[str, str] = field(default_factory=dict)

    @property
    def minimum(self) -> int:
        """The least value of the scale."""
        return min(self.responses.values())

    @property
    def maximum(self) -> int:
        """The greatest value of the scale."""
        return max(self.responses.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One question by its id, a column of the export. A `reversed` item scores minimum + maximum - value."""

    question_id: str
    scale: AnswerScale
    reversed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """The values from `lower` on, up to the next band's `lower` (half-open), are called `label`."""

    lower: float
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One score: its items, how they are put together, and what ranges of the value are called.

    Up to `missing_allowed` unanswered items are made up for by prorating: total / answered times the sum of
    the answered; with more there is no value. `gate` is a question whose answer 0 ("no") ends the
    questionnaire: the value is then 0, whatever else was answered. `bands` ascend; without bands there is no
    label.
    """

    code: str
    items: tuple[Item, ...]
    method: Method = "sum"
    missing_allowed: int = 0
    bands: tuple[Band, ...] = ()
    gate: Item | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for no items, a tolerance for none answered, or bands that do not ascend."""
        lowers = [band.lower for band in self.bands]
        tolerable = 0 <= self.missing_allowed < len(self.items)
        if not tolerable or lowers != sorted(set(lowers)):
            raise ValueError(
                f"measure {self.code}: expected items, missing_allowed below their number, ascending bands"
            )

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest value the measure can have, on the scale of its first item."""
        scale, factor = (
            self.items[0].scale,
            {"sum": len(self.items), "average": 1, "sum_then_double": 2}[self.method],
        )
        if self.method == "sum_then_double":
            factor *= len(self.items)
        return float(scale.minimum * factor), float(scale.maximum * factor)


@dataclass(frozen=True, kw_only=True, slots=True)
class Instrument:
    """A questionnaire: the measures that are scored from its answers, and where its rules are published."""

    code: str
    source: str
    measures: tuple[Measure, ...]


def items(prefix: str, numbers: range | tuple[int, ...], scale: AnswerScale) -> tuple[Item, ...]:
    """The items `prefix_1`, `prefix_2`, … of the given numbers, all on one scale."""
    return tuple(Item(question_id=f"{prefix}_{number}", scale=scale) for number in numbers)
