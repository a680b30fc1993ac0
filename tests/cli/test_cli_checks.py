"""A check as people see it: while it runs, in the last line, in show, in logs and in the record."""

from __future__ import annotations

import json

import pytest

from tests.cli.demo_project import DemoProject

JOB = """\
job_id: greet_checked
steps:
  - {{step_id: read_people, op: read, dataset: hello, table: people}}
  - step_id: fit
    op: check
    severity: {severity}
    expect:
      - {{accepted: {{column: language, values: [en, "x"]}}}}
      - {{rows: {{max: 1}}, severity: warn}}
  - {{step_id: drop, op: call, function: "demo_jobs.nothing:nothing"}}
"""


def add(project: DemoProject, severity: str) -> None:
    project.write("configs/jobs/greet_checked.yaml", JOB.format(severity=severity))
    project.write("demo_jobs/nothing.py", "def nothing(row):\n    return None\n")


@pytest.mark.parametrize("severity", ["warn", "error"])
def test_what_a_check_finds_is_seen_everywhere(loaded: DemoProject, severity: str) -> None:
    add(loaded, severity)
    done = loaded.run("greet_checked")
    rows = "fit: the rows on their way: rows to 1: there are"
    assert f"warning: greet_checked: step {rows}" in done.stderr
    shown, logs = loaded.run("show").stdout, loaded.run("logs").stdout
    assert f"warning in greet_checked: step {rows}" in shown
    assert rows in logs
    record = json.loads(loaded.run("show", "-o", "json").stdout)["jobs"][0]
    codes = [(warning["code"], warning["step_id"]) for warning in record["warnings"]]
    if severity == "warn":
        assert done.returncode == 0
        assert ", 2 warnings; details" in done.stderr + done.stdout
        assert codes == [("check.failed", "fit")] * 2
        return
    assert done.returncode == 1
    assert codes == [("check.failed", "fit")]
    assert (
        "error in greet_checked: step fit: data: check fit of the rows on their way: 1 expectation failed"
        in shown
    )
    assert "\n  accepted language en, x: " in shown
    assert [error["type"] for error in record["errors"]] == ["CheckFailed"]
