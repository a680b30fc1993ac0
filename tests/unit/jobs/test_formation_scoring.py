"""Scores against the published rules, worked out by hand, and the laws that hold for every questionnaire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.formation.bindings import question_ids
from jobs.formation.instrument import AnswerScale, Band, Instrument, Item, Measure, Method, items
from jobs.formation.scoring import ScoringPlan, score

Row = dict[str, Any]
HUGE = pytest.param(10**400, id="huge")
OCCURRED = datetime(2026, 2, 1, tzinfo=UTC)


def event(answers: Any, binding: str = "intake_01") -> Row:
    return {
        "measurement_event_id": "me:1",
        "subject_id": "P-1",
        "occurred_at": OCCURRED,
        "binding_id": binding,
        "answers": answers,
    }


def scored(answers: Any, binding: str = "intake_01") -> dict[str, Row]:
    return {row["measure_code"]: row for row in score(event(answers, binding), instrument=binding)}


def numbered(prefix: str, *answers: Any) -> dict[str, Any]:
    return {f"{prefix}_{number}": answer for number, answer in enumerate(answers, start=1)}


def result(row: Row) -> tuple[Any, Any, int]:
    return row["value"], row["label"], row["missing"]


def test_an_observation_refers_to_its_event_and_binding() -> None:
    row = scored(numbered("gad7", "0", "1", "2", "3", "0", "0", "0"))["gad7"]
    components = row.pop("components")
    assert row == {
        "observation_id": "obs:me:1:gad7",
        "idem_key": "me:1:gad7",
        "measurement_event_id": "me:1",
        "subject_id": "P-1",
        "binding_id": "intake_01",
        "measure_code": "gad7",
        "occurred_at": OCCURRED,
        "value": 6.0,
        "label": "mild",
        "missing": 0,
        "note": None,
    }
    assert components[1] == {"component_id": "gad7_2", "value": 1, "label": "several days"}
    assert [part["component_id"] for part in components] == [f"gad7_{number}" for number in range(1, 8)]


@pytest.mark.parametrize(
    ("total", "label"),
    [
        (0, "minimal"),
        (4, "minimal"),
        (5, "mild"),
        (9, "mild"),
        (10, "moderate"),
        (14, "moderate"),
        (15, "moderately severe"),
        (19, "moderately severe"),
        (20, "severe"),
        (27, "severe"),
    ],
)
def test_phq9_cut_points(total: int, label: str) -> None:
    """Kroenke, Spitzer, Williams 2001: 5, 10, 15 and 20 of 27."""
    answers = [min(3, max(0, total - 3 * place)) for place in range(9)]
    assert result(scored(numbered("phq9", *answers))["phq9"]) == (float(total), label, 0)


def test_short_forms_and_composite_of_phq9_and_gad7() -> None:
    """PHQ-9 1+2+3+3 = 9, PHQ-8 without the ninth 6, PHQ-2 3; GAD-7 7, GAD-2 2; PHQ-ADS 16 of 48."""
    found = scored(numbered("phq9", 1, 2, 3, 0, 0, 0, 0, 0, 3, 2) | numbered("gad7", 1, 1, 1, 1, 1, 1, 1))
    assert result(found["phq9"]) == (9.0, "mild", 0)
    assert result(found["phq8"]) == (6.0, "mild", 0)
    assert result(found["phq2"]) == (3.0, "positive", 0)
    assert result(found["phq9_difficulty"]) == (2.0, "very difficult", 0)
    assert result(found["gad7"]) == (7.0, "mild", 0)
    assert result(found["gad2"]) == (2.0, "negative", 0)
    assert result(found["phq_ads"]) == (16.0, "mild", 0)


def test_phq15_counts_the_item_for_women_as_zero_where_it_does_not_apply() -> None:
    """Kroenke, Spitzer, Williams 2002: 0 to 30, cut points 5, 10, 15."""
    answers = numbered("phq15", *[1] * 15) | {"phq15_4": "Not applicable"}
    assert result(scored(answers, "intake_02")["phq15"]) == (14.0, "medium", 0)


@pytest.mark.parametrize(
    ("yes", "label"), [(0, "negative"), (3, "negative"), (4, "positive"), (5, "positive")]
)
def test_pc_ptsd_5_counts_yes_with_cut_point_four(yes: int, label: str) -> None:
    answers = {"pcptsd5_exposure": "Yes"} | numbered("pcptsd5", *["yes"] * yes, *["no"] * (5 - yes))
    row = scored(answers, "followup")["pcptsd5"]
    assert result(row) == (float(yes), label, 0)
    assert row["components"][0] == {"component_id": "pcptsd5_exposure", "value": 1, "label": "yes"}


def test_pc_ptsd_5_ends_at_no_exposure_with_zero() -> None:
    row = scored({"pcptsd5_exposure": "no"}, "followup")["pcptsd5"]
    assert result(row) == (0.0, "negative", 0)
    assert row["components"] == [{"component_id": "pcptsd5_exposure", "value": 0, "label": "no"}]


def test_ces_d_reverses_the_positive_items() -> None:
    """Radloff 1977: all "rarely" gives 0 for 16 items and 3 for each of 4, 8, 12, 16."""
    found = scored(numbered("cesd", *["rarely"] * 20), "intake_02")
    assert result(found["cesd"]) == (12.0, "below cut-off", 0)
    assert result(found["cesd_positive_affect"]) == (12.0, None, 0)
    assert result(found["cesd_somatic"]) == (0.0, None, 0)
    assert found["cesd"]["components"][3]["value"] == 0
    most = scored(numbered("cesd", *["Most or all of the time"] * 20), "intake_02")
    assert result(most["cesd"]) == (48.0, "at or above cut-off", 0)
    assert result(scored(numbered("cesd", *[0, 0, 0, 3] * 4, 3, 3, 3, 3), "intake_02")["cesd"])[0] == 12.0
    assert (
        result(scored(numbered("cesd", *[0, 0, 0, 3] * 4, 3, 3, 3, 3), "intake_02")["cesd"])[1]
        == "below cut-off"
    )
    sixteen = numbered("cesd", *[1, 0, 0, 2] * 4, 3, 3, 2, 0)
    assert result(scored(sixteen, "intake_02")["cesd"]) == (16.0, "at or above cut-off", 0)


def test_missing_answers_are_prorated_and_keep_the_fraction() -> None:
    """Six of seven answered, with sum 4: 4 x 7 / 6 = 4.67, still below 5 and so minimal."""
    row = scored(numbered("gad7", 1, 1, 1, 1, 0, 0, ""))["gad7"]
    assert row["value"] == pytest.approx(28 / 6)
    assert (row["label"], row["missing"], row["note"]) == ("minimal", 1, None)
    assert row["components"][6] == {"component_id": "gad7_7", "value": None, "label": None}


def test_too_many_missing_answers_give_no_value_and_say_so() -> None:
    row = scored(numbered("gad7", 1, 1, 1, 1, 0, None, ""))["gad7"]
    assert result(row) == (None, None, 2)
    assert row["note"] == "2 of 7 answers missing, at most 1 allowed"


def test_a_questionnaire_without_answers_gives_nothing() -> None:
    assert scored({}) == {}
    assert scored(dict.fromkeys(question_ids("intake_01"), "")) == {}
    assert set(scored(numbered("gad7", *[0] * 7))) == {"gad7", "gad2", "phq_ads"}


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (2, 2),
        (2.0, 2),
        ("2", 2),
        (" 2 ", 2),
        ("2.0", 2),
        ("more than half the days", 2),
        (" MORE than half the DAYS ", 2),
        ("Several days", 1),
        ("never", 0),
        ("1.5", 1.5),
    ],
)
def test_answers_are_numbers_wordings_or_aliases(answer: object, value: float) -> None:
    row = scored({"phq9_1": answer, "phq9_2": 0})["phq2"]
    assert row["value"] == value
    assert row["components"][0]["value"] == value


@pytest.mark.parametrize(
    "answer", [True, False, 4, -1, "4", "maybe", "nan", "inf", float("nan"), "0_1", [1], {}, HUGE]
)
def test_an_unknown_answer_is_refused_with_question_answer_and_expectation(answer: object) -> None:
    with pytest.raises(
        ValueError, match=r"^me:1: answers\.phq9_1: .* is no answer to this question, "
    ) as caught:
        scored({"phq9_1": answer})
    assert repr(answer)[:80] in str(caught.value)
    assert "expected a number from 0 to 3 or one of 'not at all', 'several days'" in str(caught.value)


@pytest.mark.parametrize("answers", [None, [], "text", 3])
def test_answers_must_be_an_object(answers: object) -> None:
    with pytest.raises(
        ValueError, match=rf"^answers of me:1: expected an object, got {type(answers).__name__}$"
    ):
        scored(answers)


def test_an_unknown_set_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"^instrument: 'intake_09' is no binding, expected one of intake_01, intake_02, "
    ):
        score(event({}), instrument="intake_09")


def test_a_row_without_a_column_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="answers"):
        score({"measurement_event_id": "me:1"}, instrument="intake_01")


TEN = AnswerScale(responses={"none": 1, "full": 10})


@pytest.mark.parametrize(
    ("method", "answers", "value"),
    [
        ("sum", [1, 2, 4], 7.0),
        ("average", [1, 2, 4], 7 / 3),
        ("average", [1, 1, 1], 1.0),
        ("sum_then_double", [1, 2, 4], 14.0),
        ("sum", [1, 2, None], 4.5),
        ("average", [1, 2, None], 1.5),
        ("sum_then_double", [1, 2, None], 9.0),
    ],
)
def test_methods_and_their_prorating(method: Method, answers: list[int | None], value: float) -> None:
    measure = Measure(code="m", items=items("q", range(1, 4), TEN), method=method, missing_allowed=1)
    plan = ScoringPlan((Instrument(code="i", source="this test", measures=(measure,)),))
    (row,) = plan.observations(event(numbered("q", *answers)))
    assert row["value"] == value
    assert measure.range[0] <= value <= measure.range[1]


def test_a_reversed_item_mirrors_within_its_scale_and_a_fraction_stays_in_its_band() -> None:
    low, high = Band(lower=0, label="low"), Band(lower=5, label="high")
    measure = Measure(code="m", items=(Item(question_id="q", scale=TEN, reversed=True),), bands=(low, high))
    plan = ScoringPlan((Instrument(code="i", source="this test", measures=(measure,)),))
    values = {answer: plan.observations(event({"q": answer}))[0] for answer in (1, 6, 6.5, 10)}
    assert {answer: row["value"] for answer, row in values.items()} == {1: 10.0, 6: 5.0, 6.5: 4.5, 10: 1.0}
    assert [row["label"] for row in values.values()] == ["high", "high", "low", "low"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"items": ()},
        {"missing_allowed": 3},
        {"missing_allowed": -1},
        {"bands": (Band(lower=5, label="b"), Band(lower=0, label="a"))},
    ],
)
def test_a_measure_that_cannot_be_scored_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=r"^measure m: expected items, missing_allowed below their number, ascending bands$"
    ):
        Measure(**({"code": "m", "items": items("q", range(1, 4), TEN)} | wrong))
