"""The trace that a run belongs to: what is taken over from a caller, and what is not."""

from __future__ import annotations

import re

import pytest

from runner.ids import Trace, trace_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "text",
    [f"00-{TRACE}-{SPAN}-01", f" 00-{TRACE}-{SPAN}-00\n", f"cc-{TRACE}-{SPAN}-01-what-the-future-holds"],
)
def test_the_trace_of_a_caller_is_taken_over(text: str) -> None:
    """Also in a newer form: its beginning stays as it is."""
    assert trace_of(text) == Trace(TRACE, SPAN)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE[1:]}-{SPAN}-01",
    ],
)
def test_what_is_none_gives_a_new_trace(text: str | None) -> None:
    """The W3C recommendation: a header that cannot be read is ignored."""
    first, second = trace_of(text), trace_of(text)
    assert re.fullmatch(r"[0-9a-f]{32}", first.trace_id)
    assert first.trace_id not in (second.trace_id, TRACE)
    assert first.parent_span_id == ""
