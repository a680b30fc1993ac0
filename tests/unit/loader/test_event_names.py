"""The word that YAML gives to the performance event of a job or stage."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from runner.events import EVENT_TYPES
from runner.operations.schema.short_forms import EVENT
from runner.specs import StageSpec
from runner.specs.names import ENGINE_EVENTS

GOOD = ["formation.performance", "ingest.parallel_performance", "a.b", "x1.y_2.z", "a." + "b" * 62]
BAD = [
    "performance", "", "Formation.performance", "formation.", ".formation", "a..b", "form-ation.x", "a.b\n",
    "run.started", "job.performance", "stage.x", "pipeline.finished", "performance.regression", "a." + "b" * 63,
    "a b.c",
]  # fmt: skip


@pytest.mark.parametrize("word", GOOD)
def test_words_of_a_project(word: str) -> None:
    """Two or more, with dots; the schema for editors agrees."""
    assert StageSpec(name="s", jobs=("a",), event=word).event == word
    assert re.search(EVENT, word)


@pytest.mark.parametrize("word", BAD)
def test_words_that_are_none(word: str) -> None:
    """Among them those that would be taken for the engine's own."""
    with pytest.raises(ValidationError, match="event"):
        StageSpec(name="s", jobs=("a",), event=word)
    assert not re.search(EVENT.replace("$", r"\Z"), word)


def test_no_event_of_the_engine_can_be_taken() -> None:
    """Also of those that are still to come with one of these first words."""
    assert {word.partition(".")[0] for word in EVENT_TYPES} <= set(ENGINE_EVENTS)
