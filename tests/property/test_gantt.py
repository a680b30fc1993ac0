"""Any run can be drawn, on any terminal, and no line of the picture is longer than it may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.analysis.critical_path import critical_path
from runner.analysis.timeline import timeline
from runner.cli.gantt import ASCII, BLOCKS, MIN_COLUMNS, Glyphs, gantt
from runner.cli.tables import width
from runner.records import PipelineRun
from tests.property.test_analysis import any_runs


@given(any_runs(), st.integers(1, 300), st.sampled_from([BLOCKS, ASCII]), st.booleans())
def test_every_bar_fits_and_every_job_has_one(
    run: PipelineRun, columns: int, glyphs: Glyphs, steps: bool
) -> None:
    """A line for each job (and step), all of one width; each bar has a cell at least; the path is marked."""
    bars = timeline(run)
    path = critical_path(run, bars)
    lines = [
        "".join(map(str, parts)) for parts in gantt(bars, path, columns=columns, glyphs=glyphs, steps=steps)
    ]
    picture = lines[1 : lines.index("")] if "" in lines else []

    drawn = len(bars.bars) * (3 if steps or len(bars.bars) == 1 else 1)
    assert len(picture) == drawn
    assert {width(line) for line in picture} <= {max(columns, MIN_COLUMNS)}
    assert all(glyphs.runs in line or glyphs.critical in line for line in picture)
    marked = [line.split()[1] for line in picture if line.startswith("*")]
    assert sorted(marked) == sorted(path.jobs)
