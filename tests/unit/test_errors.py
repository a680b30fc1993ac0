"""The errors of warehouses: what each class says of itself, and the text that is made from its fields."""

from __future__ import annotations

import pytest

from runner.cli.exit_codes import ExitCode
from runner.cli.failures import exit_code
from runner.errors import (
    AuthenticationFailed,
    CostLimitExceeded,
    DiskFull,
    ObjectNotFound,
    PermissionDenied,
    QuotaExceeded,
    ResourceExhausted,
    WarehouseError,
    WarehouseTimeLimit,
    WarehouseUnavailable,
    WriteConflict,
    category_of,
    is_retryable,
)


@pytest.mark.parametrize(
    ("kind", "category", "retryable", "code"),
    [
        (WarehouseError, "query", False, ExitCode.FAILED),
        (WarehouseUnavailable, "unavailable", True, ExitCode.COULD_NOT_TELL),
        (WarehouseTimeLimit, "timeout", False, ExitCode.RUN_TIMEOUT),
        (WriteConflict, "conflict", True, ExitCode.FAILED),
        (AuthenticationFailed, "auth", False, ExitCode.COULD_NOT_TELL),
        (PermissionDenied, "auth", False, ExitCode.COULD_NOT_TELL),
        (QuotaExceeded, "quota", True, ExitCode.COULD_NOT_TELL),
        (ObjectNotFound, "not_found", False, ExitCode.USAGE),
        (ResourceExhausted, "resource", False, ExitCode.FAILED),
        (DiskFull, "disk_full", False, ExitCode.FAILED),
    ],
)
def test_each_class_has_its_category_retry_and_exit_code(
    kind: type[WarehouseError], category: str, retryable: bool, code: ExitCode
) -> None:
    error = kind("postgres", "said so", statement="SELECT 1")

    assert (category_of(error), is_retryable(error), exit_code(error)) == (category, retryable, code)
    assert str(error).startswith("postgres: said so")
    assert "SELECT 1" not in str(error)


def test_the_hint_of_the_class_stands_where_the_adapter_gives_none() -> None:
    usual = str(PermissionDenied("bigquery", "Access Denied: Table p:d.t"))
    own = str(PermissionDenied("bigquery", "Access Denied: Table p:d.t", hint="bigquery.tables.getData"))

    assert usual == "bigquery: Access Denied: Table p:d.t (the account needs a right that it does not have)"
    assert own == "bigquery: Access Denied: Table p:d.t (bigquery.tables.getData)"


def test_who_refuses_for_now_may_say_for_how_long() -> None:
    assert QuotaExceeded("bigquery", "slow down", retry_after=7.5).retry_after == 7.5
    assert QuotaExceeded("bigquery", "slow down").retry_after is None


@pytest.mark.parametrize(
    ("limit", "needed", "text"),
    [
        (
            1_000_000,
            10_485_760,
            "the query would bill 10,485,760 bytes or more, over its limit of 1,000,000 bytes",
        ),
        (1_000_000, None, "the query would bill more bytes, over its limit of 1,000,000 bytes"),
        (None, None, "the query would bill more bytes, over its limit"),
    ],
)
def test_a_query_that_costs_too_much_names_the_bytes(
    limit: int | None, needed: int | None, text: str
) -> None:
    error = CostLimitExceeded("bigquery", limit=limit, needed=needed)

    assert str(error) == f"bigquery: {text}; it was not run (narrow what the step reads, or raise the limit)"
    assert (category_of(error), is_retryable(error), exit_code(error)) == ("cost", False, ExitCode.FAILED)
