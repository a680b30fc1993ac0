"""The laws that hold for every questionnaire and every set of answers."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.formation.bindings import BINDINGS, question_ids
from jobs.formation.scoring import score

Row = dict[str, Any]
OCCURRED = datetime(2026, 2, 1, tzinfo=UTC)


def event(answers: Any, binding: str) -> Row:
    return {
        "measurement_event_id": "me:1",
        "subject_id": "P-1",
        "occurred_at": OCCURRED,
        "binding_id": binding,
        "answers": answers,
    }


def test_every_binding_has_seven_measures_with_bands_that_cover_their_range() -> None:
    for binding, instruments in BINDINGS.items():
        measures = [measure for instrument in instruments for measure in instrument.measures]
        assert len({measure.code for measure in measures}) == len(measures) == 7, binding
        for measure in measures:
            if measure.bands:
                assert measure.bands[0].lower == measure.range[0]
                assert measure.bands[-1].lower <= measure.range[1]


bindings = st.sampled_from(sorted(BINDINGS))


@st.composite
def events(draw: st.DrawFn) -> Row:
    """An event of any binding in which every question has an answer of its scale or none."""
    binding = draw(bindings)
    answer = st.sampled_from(["", None, "0", "1", 0, 1])
    return event({question: draw(answer) for question in question_ids(binding)}, binding)


@given(events())
def test_a_value_lies_within_the_range_of_its_measure(row: Row) -> None:
    ranges = {m.code: m.range for instrument in BINDINGS[row["binding_id"]] for m in instrument.measures}
    for found in score(row, instrument=row["binding_id"]):
        low, high = ranges[found["measure_code"]]
        assert found["value"] is None or low <= found["value"] <= high
        assert (found["value"] is None) == (found["note"] is not None)


@given(events(), st.randoms(use_true_random=False))
def test_the_order_of_answers_does_not_matter_and_a_second_time_gives_the_same(
    row: Row, chance: random.Random
) -> None:
    shuffled = list(row["answers"].items())
    chance.shuffle(shuffled)
    first = score(row, instrument=row["binding_id"])
    assert score({**row, "answers": dict(shuffled)}, instrument=row["binding_id"]) == first
    ids = [found["observation_id"] for found in first]
    assert len(set(ids)) == len(ids)
    assert all(found["observation_id"] == f"obs:me:1:{found['measure_code']}" for found in first)


@given(st.lists(st.sampled_from([0, 1, 2, 3]), min_size=7, max_size=7), st.integers(0, 6))
def test_prorating_equals_filling_in_the_mean_of_the_others(answers: list[int], gap: int) -> None:
    others = answers[:gap] + answers[gap + 1 :]
    with_gap = [None if place == gap else answer for place, answer in enumerate(answers)]
    given_answers = {f"gad7_{number}": answer for number, answer in enumerate(with_gap, start=1)}
    (found, _, _) = score(event(given_answers, "intake_01"), instrument="intake_01")
    assert found["measure_code"] == "gad7"
    assert found["value"] == pytest.approx(sum(others) + sum(others) / len(others))
