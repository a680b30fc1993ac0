"""The Patient Health Questionnaires: PHQ-9 with its short forms, PHQ-15, and GAD-7 with GAD-2.

Free to use: developed by R. L. Spitzer, J. B. W. Williams, K. Kroenke and colleagues with an educational
grant from Pfizer Inc.; the forms state "No permission required to reproduce, translate, display or
distribute", and in July 2010 Pfizer released the PHQ and GAD-7 "without copyright restriction and at no
charge". Only ids, answer wordings and scoring rules are here, not the questions.

Rules: PHQ-9 Kroenke, Spitzer, Williams 2001 (J Gen Intern Med 16:606); PHQ-8 Kroenke et al. 2009 (J Affect
Disord 114:163); PHQ-2 Kroenke et al. 2003 (Med Care 41:1284); GAD-7 Spitzer et al. 2006 (Arch Intern Med
166:1092); GAD-2 Kroenke et al. 2007 (Ann Intern Med 146:317); PHQ-ADS Kroenke et al. 2016 (Psychosom Med
78:716); PHQ-15 Kroenke, Spitzer, Williams 2002 (Psychosom Med 64:258). They say nothing of missing answers;
this project prorates up to a quarter of the items and gives no value to one- and two-item measures and to the
composite unless complete.
"""

from __future__ import annotations

from jobs.formation.instrument import AnswerScale, Band, Instrument, Item, Measure, items

FREQUENCY = AnswerScale(
    responses={"not at all": 0, "several days": 1, "more than half the days": 2, "nearly every day": 3},
    aliases={"more than half of the days": "more than half the days", "never": "not at all"},
)
DIFFICULTY = AnswerScale(
    responses={
        "not difficult at all": 0,
        "somewhat difficult": 1,
        "very difficult": 2,
        "extremely difficult": 3,
    },
)
BOTHER = AnswerScale(responses={"not bothered at all": 0, "bothered a little": 1, "bothered a lot": 2})
# Item 4 of PHQ-15 is for women only. For men it counts 0, so their total is at most 28.
BOTHER_WOMEN = AnswerScale(
    responses=BOTHER.responses,
    aliases={"not applicable": "not bothered at all", "n/a": "not bothered at all"},
)

_SEVERITY = (
    Band(lower=0, label="minimal"),
    Band(lower=5, label="mild"),
    Band(lower=10, label="moderate"),
    Band(lower=15, label="moderately severe"),
    Band(lower=20, label="severe"),
)
_SCREEN = (Band(lower=0, label="negative"), Band(lower=3, label="positive"))
_PHQ9 = items("phq9", range(1, 10), FREQUENCY)
_GAD7 = items("gad7", range(1, 8), FREQUENCY)

PHQ9 = Instrument(
    code="phq9",
    source="Kroenke, Spitzer, Williams 2001",
    measures=(
        Measure(code="phq9", items=_PHQ9, missing_allowed=2, bands=_SEVERITY),
        # PHQ-8 leaves out the ninth item and keeps the cut points.
        Measure(code="phq8", items=_PHQ9[:8], missing_allowed=2, bands=_SEVERITY),
        Measure(code="phq2", items=_PHQ9[:2], bands=_SCREEN),
        # The tenth question, of difficulty in daily life, is not part of the total.
        Measure(
            code="phq9_difficulty",
            items=(Item(question_id="phq9_10", scale=DIFFICULTY),),
            bands=tuple(Band(lower=value, label=label) for label, value in DIFFICULTY.responses.items()),
        ),
    ),
)

GAD7 = Instrument(
    code="gad7",
    source="Spitzer, Kroenke, Williams, Löwe 2006",
    measures=(
        Measure(
            code="gad7",
            items=_GAD7,
            missing_allowed=1,
            bands=(
                Band(lower=0, label="minimal"),
                Band(lower=5, label="mild"),
                Band(lower=10, label="moderate"),
                Band(lower=15, label="severe"),
            ),
        ),
        Measure(code="gad2", items=_GAD7[:2], bands=_SCREEN),
    ),
)

PHQ_ADS = Instrument(
    code="phq_ads",
    source="Kroenke et al. 2016",
    measures=(
        Measure(
            code="phq_ads",
            items=_PHQ9 + _GAD7,
            bands=(
                Band(lower=0, label="minimal"),
                Band(lower=10, label="mild"),
                Band(lower=20, label="moderate"),
                Band(lower=30, label="severe"),
            ),
        ),
    ),
)

PHQ15 = Instrument(
    code="phq15",
    source="Kroenke, Spitzer, Williams 2002",
    measures=(
        Measure(
            code="phq15",
            items=tuple(
                Item(question_id=f"phq15_{number}", scale=BOTHER_WOMEN if number == 4 else BOTHER)
                for number in range(1, 16)
            ),
            missing_allowed=3,
            bands=(
                Band(lower=0, label="minimal"),
                Band(lower=5, label="low"),
                Band(lower=10, label="medium"),
                Band(lower=15, label="high"),
            ),
        ),
    ),
)
