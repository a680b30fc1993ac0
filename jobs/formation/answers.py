"""What one answer is worth: the value of its scale, ready for summing, and how an observation shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.formation.instrument import Item

Component = dict[str, Any]
Answer = tuple[float | None, Component]
"""The scored value (reversed where the item is; None if unanswered) and the component of the observation."""


class AnswerKey:
    """All that one item accepts, looked up in one step for the answers that occur in practice.

    Components are made once and shared by all observations that show them: they are to be read, never
    changed.
    """

    def __init__(self, item: Item) -> None:
        self._item = item
        self._missing: Answer = (None, self._component(None, None))
        self._wordings = {value: label for label, value in reversed(item.scale.responses.items())}
        self.known: dict[object, Answer] = {None: self._missing, "": self._missing}
        # Only texts are keys: a number 1 as key would also be found by True.
        for value in self._wordings:
            self.known[str(value)] = self._answer(value)
        for wording, value in item.scale.responses.items():
            self.known[wording] = self.known[wording.capitalize()] = self._answer(value)

    def resolve(self, answer: object) -> Answer:
        """The answer by the full rules: blank is missing, numbers lie within the scale, else wording or
        alias.

        Raises ValueError with the question's id, the answer and what was expected.
        """
        if isinstance(answer, str):
            text = answer.strip().lower()
            if not text:
                return self._missing
            wording = self._item.scale.aliases.get(text, text)
            if wording in self._item.scale.responses:
                return self._answer(self._item.scale.responses[wording])
            return self._within(_number(text), answer)
        if isinstance(answer, (int, float)) and not isinstance(answer, bool):
            return self._within(answer, answer)
        return self._missing if answer is None else self._within(None, answer)

    def _within(self, number: float | None, answer: object) -> Answer:
        scale = self._item.scale
        if number is not None and scale.minimum <= number <= scale.maximum:  # false for NaN
            return self._answer(int(number) if number == int(number) else number)
        wordings = ", ".join(repr(wording) for wording in scale.responses)
        raise ValueError(
            f"answers.{self._item.question_id}: {repr(answer)[:80]} is no answer to this question, "
            f"expected a number from {scale.minimum} to {scale.maximum} or one of {wordings}"
        )

    def _answer(self, value: float) -> Answer:
        scale = self._item.scale
        scored = scale.minimum + scale.maximum - value if self._item.reversed else value
        return float(scored), self._component(value, self._wordings.get(value))  # type: ignore[call-overload]

    def _component(self, value: float | None, label: str | None) -> Component:
        return {"component_id": self._item.question_id, "value": value, "label": label}


def _number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None
