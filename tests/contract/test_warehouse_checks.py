"""Checks of tables: every kind of expectation finds its fault, with samples, and nothing else, in every warehouse."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from runner.errors import CheckFailed
from runner.expectations import sentence
from runner.ports import LandingCheck, TableCheck, WriteTarget
from runner.specs import CheckSpec, Filter, TableSpec
from tests.contract.conftest import OpenLab
from tests.warehouse_lab import OBSERVATIONS, STAMP, TYPES, Lab, at, batch_of, landing_of, table, where

pytestmark = pytest.mark.anyio

NAN = float("nan")
VISITS = table(
    "visits", ["visit"], visit="int64!", person="string", score="float64", kind="string", seen="timestamp"
)
ROWS = (
    (1, "ann", 0.5, "first", at(0)),
    (2, "bob", 9.5, "first", at(1)),
    (3, "bob", NAN, "follow up", at(2)),
    (4, None, None, None, None),
    (5, "cem", -1.0, "frist", at(3)),
)


def check_of(
    spec: TableSpec, *expect: dict[str, Any], filters: tuple[Filter, ...] = (), as_of: datetime = STAMP
) -> TableCheck:
    """Return a check, as a step declares it."""
    step = CheckSpec.model_validate(
        {"step_id": "fit", "op": "check", "dataset": spec.dataset, "table": spec.table, "expect": expect}
    )
    return TableCheck(step_id="fit", table=spec, expectations=step.expectations, as_of=as_of, filters=filters)


async def said(lab: Lab, check: TableCheck) -> list[str]:
    """Return what a check finds, in words."""
    return [sentence(finding) for finding in await lab.warehouse.check(check)]


FAULTS = [
    ({"not_null": ["visit", "person"]}, 'not_null person: 1 of 5 rows, such as {"visit": 4, "person": null}'),
    ({"unique": "person"}, 'unique person: 2 of 5 rows, such as {"person": "bob"} in 2 rows'),
    (
        {"accepted": {"column": "kind", "values": ["first", "follow up"]}},
        'accepted kind first, follow up: 1 of 5 rows, such as {"visit": 5, "kind": "frist"}',
    ),
    (
        {"range": {"column": "score", "min": 0, "max": 9.5}},
        'range score from 0 to 9.5: 2 of 5 rows, such as {"visit": 3, "score": "nan"}, {"visit": 5, "score": -1.0}',
    ),
    (
        {"range": {"column": "score", "min": -1}},
        'range score from -1: 1 of 5 rows, such as {"visit": 3, "score": "nan"}',
    ),
    ({"rows": {"min": 6}}, "rows from 6: there are 5"),
    ({"rows": {"max": 4}}, "rows to 4: there are 5"),
    (
        {"fresh": {"column": "seen", "within": "10m"}},
        "fresh seen within 10m: the latest is 2026-02-12T06:03:00.000000Z",
    ),
    (
        {"expression": "score <= 9 AND visit < 5"},
        (
            'expression score <= 9 AND visit < 5: 3 of 5 rows, such as {"visit": 2, "score": 9.5},'
            ' {"visit": 3, "score": "nan"}, {"visit": 5, "score": -1.0}'
        ),
    ),
]


@pytest.mark.parametrize(("expectation", "text"), FAULTS, ids=[str(fault[0]) for fault in FAULTS])
async def test_each_kind_finds_its_fault(open_lab: OpenLab, expectation: dict[str, Any], text: str) -> None:
    async with open_lab(VISITS) as lab:
        await lab.fill(VISITS, *ROWS)
        assert await said(lab, check_of(VISITS, expectation, as_of=at(14))) == [text]


async def test_what_holds_is_not_told(open_lab: OpenLab) -> None:
    holding = (
        {"not_null": "visit"},
        {"unique": ["visit", "person"]},
        {"accepted": {"column": "kind", "values": ["first", "follow up", "frist"]}},
        {"range": {"column": "visit", "min": 1, "max": 5}},
        {"rows": {"min": 5, "max": 5}},
        {"fresh": {"column": "seen", "within": "11m"}},
        {"expression": "visit > 0"},
    )
    async with open_lab(VISITS) as lab:
        await lab.fill(VISITS, *ROWS)
        assert await said(lab, check_of(VISITS, *holding, as_of=at(14))) == []


async def test_filters_choose_the_rows(open_lab: OpenLab) -> None:
    async with open_lab(VISITS) as lab:
        await lab.fill(VISITS, *ROWS)
        check = check_of(
            VISITS,
            {"rows": {"min": 3}},
            {"unique": "kind"},
            {"range": {"column": "score", "max": 1}},
            filters=(where("kind", "first"), where("visit", 9, "<")),
        )
        assert await said(lab, check) == [
            "rows from 3: there are 2",
            'unique kind: 2 of 2 rows, such as {"kind": "first"} in 2 rows',
            'range score to 1: 1 of 2 rows, such as {"visit": 2, "score": 9.5}',
        ]


async def test_an_empty_table(open_lab: OpenLab) -> None:
    everything = (
        {"not_null": "person"},
        {"unique": "person"},
        {"fresh": {"column": "seen", "within": "1d"}},
        {"rows": {"min": 1}},
        {"expression": "visit > 7"},
    )
    async with open_lab(VISITS) as lab:
        assert await said(lab, check_of(VISITS, *everything)) == [
            "fresh seen within 1d: there is no time at all",
            "rows from 1: there are none",
        ]


async def test_at_most_five_samples_in_the_order_of_the_key(open_lab: OpenLab) -> None:
    async with open_lab(VISITS) as lab:
        await lab.fill(VISITS, *((number, None, None, None, None) for number in range(30, 0, -1)))
        (finding,) = await lab.warehouse.check(check_of(VISITS, {"not_null": "kind"}))
    assert (finding.offending, finding.rows) == (30, 30)
    assert finding.samples == tuple(f'{{"visit": {number}, "kind": null}}' for number in range(1, 6))


async def test_values_of_every_type(open_lab: OpenLab) -> None:
    row = ("a", 7, 0.5, Decimal("1.5"), True, at(0), at(0).date(), '{"a": 1}', b"\x00\xff")
    async with open_lab(TYPES) as lab:
        await lab.fill(TYPES, row)
        check = check_of(
            TYPES,
            {"accepted": {"column": "i", "values": [8]}},
            {"accepted": {"column": "b", "values": [False]}},
            {"range": {"column": "n", "min": "1.500000001"}},
            {"range": {"column": "t", "max": "2026-02-12T05:00:00Z"}},
            {"range": {"column": "d", "max": "2026-02-11"}},
            {"range": {"column": "id", "min": "b"}},
            {"accepted": {"column": "n", "values": ["1.5", 2]}},
        )
        assert await said(lab, check) == [
            'accepted i 8: 1 of 1 row, such as {"id": "a", "i": 7}',
            'accepted b False: 1 of 1 row, such as {"id": "a", "b": true}',
            'range n from 1.500000001: 1 of 1 row, such as {"id": "a", "n": "1.5"}',
            'range t to 2026-02-12T05:00:00Z: 1 of 1 row, such as {"id": "a", "t": "2026-02-12T06:00:00.000000Z"}',
            'range d to 2026-02-11: 1 of 1 row, such as {"id": "a", "d": "2026-02-12"}',
            'range id from b: 1 of 1 row, such as {"id": "a"}',
        ]


async def test_text_is_escaped_and_cut(open_lab: OpenLab) -> None:
    async with open_lab(VISITS) as lab:
        await lab.fill(VISITS, (1, 'quote " \n\x1b', None, "x" * 300, None))
        check = check_of(
            VISITS,
            {"accepted": {"column": "person", "values": ["ann"]}},
            {"accepted": {"column": "kind", "values": ["first"]}},
        )
        person, kind = await lab.warehouse.check(check)
    assert person.samples == (r'{"visit": 1, "person": "quote \" \n\u001b"}',)
    assert kind.samples == ('{"visit": 1, "kind": "' + "x" * 178 + "…",)


async def test_a_failing_check_rolls_the_landing_back(open_lab: OpenLab) -> None:
    target = WriteTarget(step_id="write", table=OBSERVATIONS, mode="upsert", key=("oid",))
    good, bad = (("o1", "a", 1.0, None, None),), (("o1", "a", 2.0, None, None), ("o2", None, 3.0, None, None))
    spec = landing_of(
        target,
        actions=(LandingCheck(after_targets=1, check=check_of(OBSERVATIONS, {"not_null": "id"})),),
    )
    async with open_lab() as lab:
        await lab.land(target, batch_of(OBSERVATIONS, target.given, good))
        async with lab.warehouse.writer(spec) as writer:
            await writer.stage(0, batch_of(OBSERVATIONS, target.given, bad))
            with pytest.raises(CheckFailed) as caught:
                await writer.land()
            assert not await writer.has_landed()
        assert await lab.rows(OBSERVATIONS, "oid", "v") == [("o1", 1.0)]
    assert str(caught.value) == (
        "check fit of lab.observations: 1 expectation failed\n"
        'not_null id: 1 of 2 rows, such as {"oid": "o2", "id": null}'
    )


async def test_a_warning_is_told_by_the_landing(open_lab: OpenLab) -> None:
    target = WriteTarget(step_id="write", table=OBSERVATIONS, mode="upsert", key=("oid",))
    check = check_of(OBSERVATIONS, {"not_null": "id", "severity": "warn"}, {"rows": {"min": 1}})
    async with open_lab() as lab:
        spec = landing_of(target, actions=(LandingCheck(after_targets=1, check=check),))
        async with lab.warehouse.writer(spec) as writer:
            rows = (("o1", None, 2.0, None, None),)
            await writer.stage(0, batch_of(OBSERVATIONS, target.given, rows))
            result = await writer.land()
        assert await lab.rows(OBSERVATIONS, "oid") == [("o1",)]
    (action,) = result.actions
    assert [sentence(finding) for finding in action.findings] == [
        'not_null id: 1 of 1 row, such as {"oid": "o1", "id": null}'
    ]


async def test_where_nothing_lands_the_table_is_checked_as_it_stands(open_lab: OpenLab) -> None:
    target = WriteTarget(step_id="write", table=OBSERVATIONS, mode="upsert", key=("oid",))
    check = check_of(OBSERVATIONS, {"rows": {"min": 1}, "severity": "warn"}, {"rows": {"max": 1}})
    spec = landing_of(target, actions=(LandingCheck(after_targets=1, check=check),))
    async with open_lab() as lab:
        async with lab.warehouse.writer(spec) as writer:
            (action,) = (await writer.land()).actions
            assert [sentence(finding) for finding in action.findings] == ["rows from 1: there are none"]
            assert not await writer.has_landed()
        await lab.fill(OBSERVATIONS, ("o1", "a", 1.0, None, None), ("o2", "b", 1.0, None, None))
        async with lab.warehouse.writer(spec) as writer:
            with pytest.raises(CheckFailed, match="rows to 1: there are 2"):
                await writer.land()
