"""CES-D, the Center for Epidemiologic Studies Depression Scale of the US National Institute of Mental Health.

Free to use: written by L. S. Radloff as an employee of the United States government, whose works have no
copyright there (17 USC 105). Only ids, answer wordings and scoring rules are here, not the questions;
translations by others may be protected and are not supported.

Rule: Radloff 1977 (Appl Psychol Meas 1:385): 20 items from 0 to 3, the positively worded items 4, 8, 12 and
16 reversed, summed to 0..60, 16 and above is the cut-off. "If more than four questions are missing answers,
do not score" (scoring sheet after Hann, Winter, Jacobsen 1999); prorating below that is this project's
choice. The four subscales follow Radloff's factors in the usual 7/4/7/2 grouping; no bands are published for
them.
"""

from __future__ import annotations

from jobs.formation.instrument import AnswerScale, Band, Instrument, Item, Measure

DAYS_OF_WEEK = AnswerScale(
    responses={
        "rarely or none of the time": 0,
        "some or a little of the time": 1,
        "occasionally or a moderate amount of time": 2,
        "most or all of the time": 3,
    },
    aliases={
        "rarely": "rarely or none of the time",
        "some": "some or a little of the time",
        "occasionally": "occasionally or a moderate amount of time",
        "most": "most or all of the time",
    },
)
_REVERSED = frozenset({4, 8, 12, 16})
_ITEMS = {
    number: Item(question_id=f"cesd_{number}", scale=DAYS_OF_WEEK, reversed=number in _REVERSED)
    for number in range(1, 21)
}


def _subscale(code: str, *numbers: int) -> Measure:
    # A quarter of the items may be missing, as in the total.
    return Measure(
        code=code, items=tuple(_ITEMS[number] for number in numbers), missing_allowed=len(numbers) // 4
    )


CES_D = Instrument(
    code="cesd",
    source="Radloff 1977",
    measures=(
        Measure(
            code="cesd",
            items=tuple(_ITEMS.values()),
            missing_allowed=4,
            bands=(Band(lower=0, label="below cut-off"), Band(lower=16, label="at or above cut-off")),
        ),
        _subscale("cesd_depressed_affect", 3, 6, 9, 10, 14, 17, 18),
        _subscale("cesd_positive_affect", 4, 8, 12, 16),
        _subscale("cesd_somatic", 1, 2, 5, 7, 11, 13, 20),
        _subscale("cesd_interpersonal", 15, 19),
    ),
)
