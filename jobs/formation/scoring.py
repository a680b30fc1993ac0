"""Scores measurement events: one observation for each measure of the event's binding.

The rules are data (`jobs.formation.bindings` and the questionnaires it names); this is the one engine for all
of them.

* An answer that no scale knows makes the whole event a bad row (ValueError); nothing of it is scored.
* A questionnaire of which nothing was answered gives no observation, so an empty event gives none at all.
* Up to `missing_allowed` missing answers are prorated, and the fraction is kept: 4.5 stays 4.5. With more,
  the observation is there without value and label, and `note` says why.
* Bands are half-open from their lower bound: 4.5 belongs to the band from 0 to below 5.
* Ids derive from the event: scoring the same event again gives the same observations.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from jobs.formation.answers import AnswerKey
from jobs.formation.bindings import BINDINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobs.formation.answers import Answer, Component
    from jobs.formation.instrument import Instrument, Item, Measure
    from runner import Row

Score = tuple[float | None, int, list["Component"], str | None]
"""Value, number of missing answers, components, and a note if there is no value."""


def score(row: Row, *, instrument: str) -> list[Row]:
    """The rows of `derived.observations` for one row of `derived.measurement_events`.

    `instrument` names the set of questionnaires, a key of `bindings.BINDINGS`. Values have the unit of the
    questionnaire's published score. Raises ValueError for an unknown set, answers that are not an object, and
    an answer that is not on its item's scale; KeyError for a row without the columns that are read.
    """
    return _plan(instrument).observations(row)


@cache  # one entry per key of BINDINGS: an unknown one raises and is not kept
def _plan(binding: str) -> ScoringPlan:
    if binding not in BINDINGS:
        raise ValueError(f"instrument: {binding!r} is no binding, expected one of {', '.join(BINDINGS)}")
    return ScoringPlan(BINDINGS[binding])


class ScoringPlan:
    """A set of questionnaires made ready for scoring many events; holds nothing of the events."""

    def __init__(self, instruments: tuple[Instrument, ...]) -> None:
        self._slots: dict[tuple[str, bool], int] = {}
        self._lookups: list[tuple[str, dict[object, Answer], Callable[[object], Answer]]] = []
        self._sections = [
            _Section([_MeasurePlan(measure, self._slot) for measure in instrument.measures])
            for instrument in instruments
        ]

    def observations(self, row: Row) -> list[Row]:
        """The observations of one measurement event. Raises ValueError as `score` does."""
        event = row["measurement_event_id"]
        values, components = self._answers(row["answers"], event)
        found: list[Row] = []
        for section in self._sections:
            if section.is_empty(values):
                continue
            for code, score_measure, label in section.measures:
                value, missing, shown, note = score_measure(values, components)
                found.append(
                    {
                        "observation_id": f"obs:{event}:{code}",
                        "idem_key": f"{event}:{code}",
                        "measurement_event_id": event,
                        "subject_id": row["subject_id"],
                        "binding_id": row["binding_id"],
                        "measure_code": code,
                        "occurred_at": row["occurred_at"],
                        "value": value,
                        "label": None if value is None else label(value),
                        "missing": missing,
                        "components": shown,
                        "note": note,
                    }
                )
        return found

    def _answers(self, answers: Any, event: str) -> tuple[list[float | None], list[Component]]:
        if type(answers) is not dict:
            raise ValueError(f"answers of {event}: expected an object, got {type(answers).__name__}")
        get = answers.get
        found: list[Answer | None]
        try:
            found = [known.get(get(question_id)) for question_id, known, _ in self._lookups]
        except TypeError:  # an answer that is a list or an object
            found = [None] * len(self._lookups)
        read = [
            answer or self._resolve(resolve, get(question_id), event)
            for answer, (question_id, _, resolve) in zip(found, self._lookups, strict=True)
        ]
        return [answer[0] for answer in read], [answer[1] for answer in read]

    def _resolve(self, resolve: Callable[[object], Answer], answer: object, event: str) -> Answer:
        try:
            return resolve(answer)
        except ValueError as error:
            raise ValueError(f"{event}: {error}") from None

    def _slot(self, item: Item) -> int:
        """The place of the item's answer; an item that several measures share is looked up once."""
        key = (item.question_id, item.reversed)
        if key not in self._slots:
            answer_key = AnswerKey(item)
            self._slots[key] = len(self._lookups)
            self._lookups.append((item.question_id, answer_key.known, answer_key.resolve))
        return self._slots[key]


class _Section:
    """The measures of one questionnaire, and which answers tell that it was filled in at all."""

    def __init__(self, plans: list[_MeasurePlan]) -> None:
        self.measures = [(plan.measure.code, plan.score, plan.label) for plan in plans]
        self._slots = sorted({slot for plan in plans for slot in plan.slots})

    def is_empty(self, values: list[float | None]) -> bool:
        """Whether none of the questionnaire's questions was answered."""
        return all(values[slot] is None for slot in self._slots)


class _MeasurePlan:
    """One measure with all that does not depend on the answers worked out."""

    def __init__(self, measure: Measure, slot_of: Callable[[Item], int]) -> None:
        self.measure = measure
        self._slots = [slot_of(item) for item in measure.items]
        self._gate = None if measure.gate is None else slot_of(measure.gate)
        self._pick = _picker(self._slots)
        self._lowers = [band.lower for band in measure.bands]
        self._labels = [None, *(band.label for band in measure.bands)]

    @property
    def slots(self) -> list[int]:
        return self._slots if self._gate is None else [self._gate, *self._slots]

    def label(self, value: float) -> str | None:
        return self._labels[bisect_right(self._lowers, value)]

    def score(self, values: list[float | None], components: list[Component]) -> Score:
        shown = list(self._pick(components))
        if self._gate is not None:
            if values[self._gate] == 0:
                return 0.0, 0, [components[self._gate]], None
            shown.insert(0, components[self._gate])
        picked = self._pick(values)
        if None not in picked:
            return self._combine(sum(picked)), 0, shown, None
        missing, total = picked.count(None), len(picked)
        if missing > (allowed := self.measure.missing_allowed):
            return None, missing, shown, f"{missing} of {total} answers missing, at most {allowed} allowed"
        answered = sum(value for value in picked if value is not None)
        return self._combine(answered * total / (total - missing)), missing, shown, None

    def _combine(self, total: float) -> float:
        """The value from the sum of all items, prorated where answers are missing."""
        if self.measure.method == "average":
            return total / len(self._slots)
        return total * 2 if self.measure.method == "sum_then_double" else total


def _picker(slots: list[int]) -> Callable[[list[Any]], tuple[Any, ...]]:
    """A function that takes the given places out of a list, as a tuple."""
    if len(slots) == 1:
        only = slots[0]
        return lambda values: (values[only],)
    return itemgetter(*slots)
