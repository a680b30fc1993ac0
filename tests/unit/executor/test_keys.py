"""Which key a bad row came from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.executor.keys import row_key
from runner.ports import IncrementalRead
from runner.specs import CallSpec, Incremental, TableSpec, WriteSpec

CALL = CallSpec.model_validate({"step_id": "call", "op": "call", "function": "m:f"})
WRITE = WriteSpec.model_validate(
    {"step_id": "write", "op": "write", "dataset": "out", "table": "things", "mode": "upsert"}
)


def read(key_type: str = "string", **more: Any) -> IncrementalRead:
    """Return an incremental read of src.id against out.things.key."""
    spec = {
        "mode": "not_exists",
        "target_dataset": "out",
        "target_table": "things",
        "source_key": "id",
        "target_key": "key",
        **more,
    }
    columns = [{"name": "key", "type": key_type}, {"name": "part", "type": "int64"}]
    target = TableSpec.model_validate({"dataset": "out", "table": "things", "columns": columns})
    return IncrementalRead(spec=Incremental.model_validate(spec), target=target, job_id="job", step_id="read")


def test_before_the_write_it_stands_in_the_source_key() -> None:
    find = row_key(CALL, read())
    assert find({"id": "a", "key": "other"}) == "a"
    assert find({"key": "other"}) is None
    assert find({"id": None}) is None


def test_at_the_write_it_stands_in_the_target_key() -> None:
    assert row_key(WRITE, read())({"key": "a"}) == "a"
    assert row_key(WRITE, read())({"id": "a"}) is None


@given(st.text(max_size=5), st.text(max_size=3), st.text(max_size=3))
def test_prefix_and_suffix_are_taken_off(key: str, prefix: str, suffix: str) -> None:
    find = row_key(WRITE, read(key_prefix=prefix, key_suffix=suffix))
    assert find({"key": prefix + key + suffix}) == key


def test_a_target_key_without_the_prefix_tells_nothing() -> None:
    find = row_key(WRITE, read(key_prefix="ab", key_suffix="bc"))
    assert find({"key": "xyz"}) is None
    assert find({"key": "abc"}) is None, "prefix and suffix would overlap"
    assert find({"key": "abbc"}) == ""


def test_a_composite_key_is_a_json_array() -> None:
    find = row_key(CALL, read(source_key=["id", "n"], target_key=["key", "part"]))
    assert find({"id": "a", "n": 7}) == '["a","7"]'
    assert find({"id": "a"}) is None


@pytest.mark.parametrize("value", [5, b"x", [], object()])
def test_what_is_no_text_is_no_key_of_text(value: object) -> None:
    assert row_key(CALL, read())({"id": value}) is None


def test_keys_have_the_type_of_the_target() -> None:
    assert row_key(CALL, read("int64"))({"id": 5}) == "5"
    assert row_key(CALL, read("timestamp"))({"id": "not a time"}) is None


def test_without_an_incremental_read_there_is_no_key() -> None:
    assert row_key(CALL, None)({"id": "a"}) is None
