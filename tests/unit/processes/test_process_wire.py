"""Batches and errors come out of the wire as what they were."""

from __future__ import annotations

import pyarrow as pa
import pytest

from runner.errors import FunctionFailed, TimeLimitExceeded, is_retryable
from runner.processes import wire


class Picky(Exception):
    """An error that pickle cannot make again: it wants two arguments and passes on one."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class Lost(ConnectionError, Picky):
    """A transient one of that kind."""


def over_the_wire(error: BaseException) -> BaseException:
    """Return what arrives of an error."""
    body = wire.error_bytes(error)
    with pytest.raises(BaseException) as raised:  # noqa: PT011 - whatever it is
        wire.raise_from(body)
    return raised.value


@pytest.mark.parametrize("inner", [ZeroDivisionError("division by zero"), Picky("a", "b"), SystemExit(3)])
def test_a_function_error_keeps_name_text_and_place(inner: BaseException) -> None:
    try:
        raise inner  # noqa: TRY301 - for its traceback
    except BaseException as error:  # noqa: BLE001 - SystemExit is one of them
        sent = FunctionFailed("jobs.x:f", error)
    found = over_the_wire(sent)
    assert isinstance(found, FunctionFailed)
    assert str(found) == str(sent)
    assert found.location == sent.location
    assert "test_process_wire.py" in found.location
    assert is_retryable(found) == is_retryable(sent)


def test_a_transient_error_stays_transient() -> None:
    sent = FunctionFailed("jobs.x:f", Lost("a", "b"))
    assert is_retryable(sent)
    assert is_retryable(over_the_wire(sent))


def test_errors_of_the_engine_arrive_as_they_are_and_others_with_their_text() -> None:
    found = over_the_wire(TimeLimitExceeded("step x", 3))
    assert isinstance(found, TimeLimitExceeded)
    assert found.limit == 3
    assert "Picky: a and b" in str(over_the_wire(Picky("a", "b")))


def test_arrow_arrives_sliced_and_with_its_types() -> None:
    batch = pa.record_batch({"a": [1, 2, 3], "b": ["x", None, "z"]}).slice(1, 2)
    found = wire.arrow_from(memoryview(bytearray(wire.arrow_bytes(batch))))
    assert found.equals(batch)
