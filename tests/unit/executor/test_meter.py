"""The meter: at any moment exactly one owner's clock runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.executor.meter import Meter
from tests.unit.executor.fake_jobs import FakeClock

OWNERS = st.sampled_from([None, "read", "call", "write"])


@given(st.lists(st.tuples(OWNERS, st.integers(0, 10**9))))
def test_the_parts_sum_to_the_whole(changes: list[tuple[str | None, int]]) -> None:
    clock = FakeClock()
    meter = Meter(clock)
    expected: dict[str | None, int] = {}
    for owner, nanoseconds in changes:
        meter.enter(owner)
        clock.now += nanoseconds
        expected[owner] = expected.get(owner, 0) + nanoseconds
    meter.enter(None)
    for owner in ("read", "call", "write"):
        assert meter.spent_ns(owner) == expected.get(owner, 0)


def test_what_is_done_for_an_owner_that_is_not_current_is_charged_to_it() -> None:
    """It has not been active by that."""
    clock = FakeClock()
    meter = Meter(clock)
    meter.charge("write", 2_000_000)
    assert (meter.spent_ms("write"), meter.activity_ns("write")) == (2, None)
    meter.enter("write")
    clock.pass_ms(3)
    meter.enter(None)
    meter.charge("write", 1_000_000)
    assert meter.spent_ms("write") == 6


def test_who_comes_back_goes_on_where_it_was() -> None:
    clock = FakeClock()
    meter = Meter(clock)
    meter.enter("outer")
    clock.pass_ms(1)
    meter.enter("inner")
    clock.pass_ms(2)
    meter.enter("outer")
    clock.pass_ms(4)
    meter.enter(None)
    assert (meter.spent_ms("outer"), meter.spent_ms("inner")) == (5, 2)


@given(st.integers(0, 1000), st.integers(0, 2000))
def test_no_more_is_moved_than_is_there(spent: int, moved: int) -> None:
    clock = FakeClock()
    meter = Meter(clock)
    meter.enter("a")
    clock.now += spent
    meter.enter(None)
    meter.move("a", "b", moved)
    assert meter.spent_ns("a") + meter.spent_ns("b") == spent
    assert meter.spent_ns("a") == max(0, spent - moved)


def test_when_an_owner_was_first_and_last_current() -> None:
    clock = FakeClock()
    meter = Meter(clock)
    start = clock.now
    clock.pass_ms(1)
    for owner in ("read", "write", "read", "write"):
        meter.enter(owner)
        clock.pass_ms(2)
    meter.enter(None)
    clock.pass_ms(4)

    assert meter.activity_ns("read") == (start + 1_000_000, start + 7_000_000)
    assert meter.activity_ns("write") == (start + 3_000_000, start + 9_000_000)
    assert meter.activity_ns("call") is None


def test_who_gets_time_of_another_worked_as_long_as_that_one() -> None:
    """What two writes land together is charged to the last of them, and then shared out."""
    clock = FakeClock()
    meter = Meter(clock)
    start = clock.now
    for owner in ("write_a", "write_b"):
        meter.enter(owner)
        clock.pass_ms(5)
    meter.enter(None)
    meter.move("write_b", "write_a", 2_000_000)
    meter.move("write_b", "check", 1_000_000)

    assert meter.activity_ns("write_a") == (start, start + 10_000_000)
    assert meter.activity_ns("check") == (start + 9_000_000, start + 10_000_000)
