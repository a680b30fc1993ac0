"""Which questionnaires each binding of a form stands for.

AUDIT-C is deliberately not here: it is taken from WHO's AUDIT, which may be reproduced "but not for sale or
for use in conjunction with commercial purposes" (WHO/MSD/MSB/01.6a), and an open-source project cannot
promise that.
"""

from __future__ import annotations

from jobs.formation.ces_d import CES_D
from jobs.formation.instrument import Instrument
from jobs.formation.pc_ptsd_5 import PC_PTSD_5
from jobs.formation.phq import GAD7, PHQ9, PHQ15, PHQ_ADS

BINDINGS: dict[str, tuple[Instrument, ...]] = {
    "intake_01": (PHQ9, GAD7, PHQ_ADS),
    "intake_02": (PHQ15, PC_PTSD_5, CES_D),
    "followup": (PHQ9, GAD7, PC_PTSD_5),
}


def question_ids(binding: str) -> list[str]:
    """The ids of all questions of a binding, each once, in the order of its questionnaires.

    Raises KeyError for an unknown binding.
    """
    found: dict[str, None] = {}
    for instrument in BINDINGS[binding]:
        for measure in instrument.measures:
            gate = [] if measure.gate is None else [measure.gate]
            found.update(dict.fromkeys(item.question_id for item in [*gate, *measure.items]))
    return list(found)
