"""PC-PTSD-5, the Primary Care PTSD Screen for DSM-5 of the US National Center for PTSD.

Free to use: made by the Department of Veterans Affairs, in the public domain as a work of the United States
government (17 USC 105). Only ids and scoring rules are here, not the questions.

Rule: Prins et al. 2016 (J Gen Intern Med 31:1206): first a question about exposure to a traumatic event; "no"
ends the screen with the score 0. Else the score is the number of "yes" among five questions. Cut point 4,
which balances false negatives and false positives best (Bovin et al. 2021, JAMA Netw Open 4:e2036733; 3 may
suit women better). With a question unanswered the count may lie on either side of the cut: no value.
"""

from __future__ import annotations

from jobs.formation.instrument import AnswerScale, Band, Instrument, Item, Measure, items

YES_NO = AnswerScale(responses={"no": 0, "yes": 1}, aliases={"n": "no", "y": "yes"})

PC_PTSD_5 = Instrument(
    code="pcptsd5",
    source="Prins et al. 2016",
    measures=(
        Measure(
            code="pcptsd5",
            items=items("pcptsd5", range(1, 6), YES_NO),
            gate=Item(question_id="pcptsd5_exposure", scale=YES_NO),
            bands=(Band(lower=0, label="negative"), Band(lower=4, label="positive")),
        ),
    ),
)
