"""Which step takes the rows of which other."""

from __future__ import annotations

from runner.errors import did_you_mean
from runner.loader.documents import Document, Report
from runner.specs import JobSpec, Step


def check_flow(document: Document, spec: JobSpec, report: Report) -> None:
    """Check step ids and inputs: a step that consumes rows has one earlier step that gives some."""
    earlier: dict[str, tuple[int, Step]] = {}
    for number, step in enumerate(spec.steps):
        if step.step_id in earlier:
            line, column = document.root.key_position(("steps", earlier[step.step_id][0], "step_id"))
            message = f"step_id {step.step_id!r} is taken by {document.name}:{line}:{column}"
            report.add(
                document, ("steps", number, "step_id"), message, expected="an id of its own for each step"
            )
        if step.consumes:
            _check_consumer(document, number, step, spec, earlier, report)
        elif step.input is not None:
            message = f"a step of op {step.op} takes no rows, so it has no input"
            report.add(document, ("steps", number, "input"), message, at_key=True)
        earlier.setdefault(step.step_id, (number, step))


def _check_consumer(
    document: Document,
    number: int,
    step: Step,
    spec: JobSpec,
    earlier: dict[str, tuple[int, Step]],
    report: Report,
) -> None:
    giving = [name for name, (_, other) in earlier.items() if other.produces]
    expected = f"one of {', '.join(giving)}" if giving else "a step of op extract, read or sql before it"
    if step.input is None:
        path = ("steps", number)
        if number == 0:
            message = f"{step.step_id!r} takes rows, but it is the first step"
            report.add(document, path, message, expected="a step of op extract, read or sql before it")
        elif not (before := spec.steps[number - 1]).produces:
            message = (
                f"{step.step_id!r} takes rows, but the step before it is a {before.op}, which gives none"
            )
            report.add(document, path, message, expected=f"input: {expected}" if giving else expected)
        return
    place = ("steps", number, "input")
    if step.input in giving:
        return
    if step.input in earlier:
        op = earlier[step.input][1].op
        report.add(document, place, f"step {step.input!r} is a {op}, which gives no rows", expected=expected)
    elif any(step.input == other.step_id for other in spec.steps):
        report.add(document, place, f"step {step.input!r} does not come earlier", expected=expected)
    else:
        hint = did_you_mean(step.input, giving)
        report.add(
            document, place, f"there is no step {step.input!r}", expected="" if hint else expected, hint=hint
        )
