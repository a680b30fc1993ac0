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

Score = tuple[float | None, str | None, int, list["Component"], str | None]
"""Value, label, number of missing answers, components, and a note if there is no value."""


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
        subject, binding, occurred_at = row["subject_id"], row["binding_id"], row["occurred_at"]
        found: list[Row] = []
        for section in self._sections:
            if section.is_empty(values):
                continue
            for code, score_measure in section.measures:
                value, label, missing, shown, note = score_measure(values, components)
                found.append(
                    {
                        "observation_id": f"obs:{event}:{code}",
                        "idem_key": f"{event}:{code}",
                        "measurement_event_id": event,
                        "subject_id": subject,
                        "binding_id": binding,
                        "measure_code": code,
                        "occurred_at": occurred_at,
                        "value": value,
                        "label": label,
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
        if None not in found:
            return [answer[0] for answer in found], [answer[1] for answer in found]  # type: ignore[index]
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
        self.measures = [(plan.measure.code, plan.score) for plan in plans]
        self._slots = sorted({slot for plan in plans for slot in plan.slots})

    def is_empty(self, values: list[float | None]) -> bool:
        """Whether none of the questionnaire's questions was answered."""
        # Nearly always the first question answers it.
        return values[self._slots[0]] is None and all(values[slot] is None for slot in self._slots)


class _MeasurePlan:
    """One measure with all that does not depend on the answers worked out."""

    def __init__(self, measure: Measure, slot_of: Callable[[Item], int]) -> None:
        self.measure = measure
        self._slots = [slot_of(item) for item in measure.items]
        self._gate = None if measure.gate is None else slot_of(measure.gate)
        self._pick = _picker(self._slots)
        self._lowers = [band.lower for band in measure.bands]
        self._labels = [None, *(band.label for band in measure.bands)]
        # From the sum of the items to the value, kept as two numbers: a third of 3 is exactly 1.
        self._times = 2 if measure.method == "sum_then_double" else 1
        self._parts = len(measure.items) if measure.method == "average" else 1

    @property
    def slots(self) -> list[int]:
        return self._slots if self._gate is None else [self._gate, *self._slots]

    def score(self, values: list[float | None], components: list[Component]) -> Score:
        gate, picked, shown = self._gate, self._pick(values), list(self._pick(components))
        if gate is not None:
            if values[gate] == 0:
                return 0.0, self._label(0.0), 0, [components[gate]], None
            shown.insert(0, components[gate])
        if None in picked:
            return self._incomplete(picked, shown)
        value = sum(picked) * self._times / self._parts
        return value, self._labels[bisect_right(self._lowers, value)], 0, shown, None

    def _incomplete(self, picked: tuple[float | None, ...], shown: list[Component]) -> Score:
        missing, total, allowed = picked.count(None), len(picked), self.measure.missing_allowed
        if missing > allowed:
            note = f"{missing} of {total} answers missing, at most {allowed} allowed"
            return None, None, missing, shown, note
        answered = sum(value for value in picked if value is not None)
        value = answered * total * self._times / ((total - missing) * self._parts)
        return value, self._label(value), missing, shown, None

    def _label(self, value: float) -> str | None:
        return self._labels[bisect_right(self._lowers, value)]


def _picker(slots: list[int]) -> Callable[[list[Any]], tuple[Any, ...]]:
    """A function that takes the given places out of a list, as a tuple."""
    if len(slots) == 1:
        only = slots[0]
        return lambda values: (values[only],)
    return itemgetter(*slots)
