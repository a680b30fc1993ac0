"""`source: http`: from page to page, and from records to rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import anyio
import pytest
from blockbuster import blockbuster_ctx
from hypothesis import example, given
from hypothesis import strategies as st

from runner.errors import SourceError
from runner.sources.http import records
from runner.sources.http.pace import Pace
from runner.sources.http.pages import SMALL, BadPage, decoded
from tests.servers.http_api import Api, Reply, Request, numbered_pages, serving

Answer = Callable[[Request], Reply]


def read(api: Api, path: str = "/items", **arguments: Any) -> list[dict[str, Any]]:
    """Read all records, on a loop that must not be blocked."""

    async def collect() -> list[dict[str, Any]]:
        with blockbuster_ctx("runner"):
            return [row async for row in records(path=api.url + path, **arguments)]

    return anyio.run(collect)


def ids(rows: list[dict[str, Any]]) -> list[int]:
    return [row["id"] for row in rows]


def fails(answer: Answer, **arguments: Any) -> str:
    """Return what is said about pages that cannot be used, with `URL` for the server's."""
    with serving(answer) as api, pytest.raises(SourceError) as caught:
        read(api, **arguments)
    return str(caught.value).replace(api.url, "URL")


def walked(body: bytes, path: tuple[str, ...] | None, *, small: int = 0) -> tuple[Any, list[dict[str, Any]]]:
    """Return document and records of a page, read in slices unless it counts as small."""

    async def walk() -> tuple[Any, list[dict[str, Any]]]:
        return await decoded(body, path, decimals=False, pace=Pace(), small=small)

    return anyio.run(walk)


# --- pagination ---


def test_one_page_by_default() -> None:
    with serving(numbered_pages(3)) as api:
        assert ids(read(api)) == [1, 2]
    assert [request.path for request in api.requests] == ["/items"]


def test_numbered_pages_end_with_an_empty_one() -> None:
    with serving(numbered_pages(3)) as api:
        rows = read(api, pagination="page", params={"sort": "id"}, page_size=2, page_size_param="limit")
    assert ids(rows) == [1, 2, 3, 4, 5, 6]
    assert [request.query for request in api.requests] == [
        {"sort": "id", "limit": "2", "page": str(number)} for number in (1, 2, 3, 4)
    ]


def test_numbered_pages_may_begin_elsewhere_and_end_with_a_short_one() -> None:
    pages = {"0": [1, 2], "1": [3]}

    def answer(request: Request) -> Reply:
        return Reply([{"id": number} for number in pages[request.query["p"]]])

    with serving(answer) as api:
        rows = read(api, pagination="page", page_param="p", start_page=0, page_size=2, last_page="short")
    assert (ids(rows), len(api.requests)) == ([1, 2, 3], 2)


def test_a_page_parameter_that_the_api_does_not_know_is_found() -> None:
    text = fails(lambda _: Reply([{"id": 1}]), pagination="page")
    assert text == (
        "source http: page 2, URL/items?page=2: it is the same as one before: does the API know the parameter 'page'?;"
        " it begins '[{\"id\": 1}]'"
    )


@pytest.mark.parametrize("link", ["/items?after=2", "?after=2", "{url}/items?after=2"])
def test_links_of_the_header_are_followed(link: str) -> None:
    def answer(request: Request) -> Reply:
        if "after" in request.query:
            return Reply([{"id": 3}], headers={"Link": '</items>; rel="first"'})
        target = link.format(url=api.url)
        return Reply([{"id": 1}], headers={"Link": f'<{target}>; rel="next", </items>; rel="first"'})

    with serving(answer) as api:
        assert ids(read(api, pagination="link", params={"state": "open"})) == [1, 3]
    assert [request.query for request in api.requests] == [{"state": "open"}, {"after": "2"}]


def test_links_of_the_document_are_followed() -> None:
    def answer(request: Request) -> Reply:
        page = int(request.query.get("page", 1))
        following = {"href": f"/items?page={page + 1}"} if page < 3 else None
        return Reply({"links": {"next": following}, "data": [{"id": page}]})

    with serving(answer) as api:
        assert ids(read(api, pagination="link", next_path="links.next.href")) == [1, 2, 3]


def test_cursors_are_sent_until_there_is_none() -> None:
    following = {None: "a b", "a b": "c&d", "c&d": ""}

    def answer(request: Request) -> Reply:
        cursor = request.query.get("cursor")
        return Reply({"items": [{"id": len(api.requests)}], "meta": {"next": following[cursor]}})

    with serving(answer) as api:
        rows = read(api, pagination="cursor", cursor_path="meta.next", cursor_param="cursor", page_size=1)
    assert ids(rows) == [1, 2, 3]
    assert [request.query.get("cursor") for request in api.requests] == [None, "a b", "c&d"]
    assert {request.query["per_page"] for request in api.requests} == {"1"}


@pytest.mark.parametrize(
    ("arguments", "reply", "expected"),
    [
        (
            {"pagination": "cursor", "cursor_path": "next", "cursor_param": "c"},
            Reply({"items": [], "next": "x"}),
            "page 2, URL/items?c=x: its cursor 'x' came before: the pages go in circles",
        ),
        (
            {"pagination": "cursor", "cursor_path": "next", "cursor_param": "c"},
            Reply({"items": [], "next": 1.5}),
            "page 1, URL/items: its cursor is 1.5; expected text or a whole number",
        ),
        (
            {"pagination": "link"},
            Reply([], headers={"Link": '</items>; rel="next"'}),
            "page 1, URL/items: its next link leads to a page that was read before",
        ),
        (
            {"pagination": "link", "next_path": "next"},
            Reply({"items": [], "next": 7}),
            "page 1, URL/items: its next link is 7; expected a URL",
        ),
        (
            {"pagination": "link", "next_path": "next"},
            Reply({"items": [], "next": "http://user:pw@127.0.0.2:1/items"}),
            "page 1, URL/items: its next link leads to another host (127.0.0.2:1)",
        ),
    ],
    ids=[
        "cursor twice",
        "cursor of another type",
        "link twice",
        "link of another type",
        "link to another host",
    ],
)
def test_pages_without_end_or_sense_are_errors(
    arguments: dict[str, Any], reply: Reply, expected: str
) -> None:
    assert expected in fails(lambda _: reply, **arguments)


def test_there_is_a_greatest_number_of_pages() -> None:
    text = fails(numbered_pages(5), pagination="page", max_pages=3)
    assert text == "source http: there is a page 4, max_pages is 3"


# --- what is asked ---


def test_since_is_sent_in_utc_and_left_out_when_there_is_none() -> None:
    moment = datetime.fromisoformat("2026-03-01T01:30:00.250+02:00")
    with serving(numbered_pages(1)) as api:
        for since in (moment, datetime(2026, 3, 1, tzinfo=UTC), date(2026, 3, 1), 17, None):
            read(api, since=since, since_param="updated_since")
    assert [request.query.get("updated_since") for request in api.requests] == [
        "2026-02-28T23:30:00.250000Z", "2026-03-01T00:00:00Z", "2026-03-01", "17", None,
    ]  # fmt: skip


def test_parameters_and_headers_are_sent_as_they_are_meant() -> None:
    with serving(numbered_pages(1)) as api:
        read(
            api,
            "/items?a=1",
            params={"on": True, "none": None, "many": ["x", "y z"]},
            headers={"X-Api": "v2"},
        )
    (request,) = api.requests
    assert request.query == {"a": "1", "on": "true", "many": "y z"}
    assert (request.headers["x-api"], request.headers["accept"]) == ("v2", "application/json")


# --- records to rows ---


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([{"id": 1}], None),
        ({"total": 1, "rows": [{"id": 1}], "meta": {"tags": [1]}}, None),
        ({"data": {"rows": [{"id": 1}], "other": [2]}, "more": [3]}, "data.rows"),
    ],
    ids=["a list", "the only list", "at a path"],
)
def test_records_are_found(document: Any, path: str | None) -> None:
    with serving(lambda _: Reply(document)) as api:
        assert read(api, records=path) == [{"id": 1}]


def test_no_content_is_no_record() -> None:
    with serving(lambda _: Reply(status=204)) as api:
        assert read(api, records="data") == []


def test_a_compressed_page_is_read() -> None:
    body = gzip.compress(json.dumps([{"id": 1}]).encode())
    with serving(lambda _: Reply(body, headers={"Content-Encoding": "gzip"})) as api:
        assert read(api) == [{"id": 1}]


RECORD = {
    "id": 2**70,
    "user": {"login": "ada"},
    "at": "2026-03-01T10:00:00Z",
    "local": "2026-03-01T10:00:00",
    "day": "2026-03-01",
    "price": 0.1,
    "extra": {"ratio": 1.5, "list": [0.5]},
}


def test_fields_times_and_dates() -> None:
    with serving(lambda _: Reply([RECORD, {"id": 1}])) as api:
        rows = read(
            api,
            fields={"id": "id", "login": "user.login", "at": "at", "local": "local", "day": "day"},
            timestamps=["at", "local"],
            dates=["day", "local"],
        )
    assert rows == [
        {
            "id": 2**70,
            "login": "ada",
            "at": datetime(2026, 3, 1, 10, tzinfo=UTC),
            "local": "2026-03-01T10:00:00",  # no offset: the write will say so
            "day": date(2026, 3, 1),
        },
        {"id": 1, "login": None, "at": None, "local": None, "day": None},
    ]


def test_numbers_are_floats_or_decimals_as_asked() -> None:
    with serving(lambda _: Reply(b'[{"id": 1, "price": 0.10, "extra": {"ratio": [1.5]}}]')) as api:
        (as_float,) = read(api, fields=["id", "price"])
        (as_decimal,) = read(api, floats="decimal")
    assert as_float == {"id": 1, "price": 0.1}
    assert as_decimal == {"id": 1, "price": Decimal("0.10"), "extra": {"ratio": [1.5]}}
    assert (type(as_decimal["price"]), type(as_decimal["extra"]["ratio"][0])) == (Decimal, float)


# --- garbage ---


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "it is not JSON: Expecting value at character 0"),
        (b"<!doctype html>\x00\xff", "not UTF-8 at byte 16"),
        (b'[{"id": 1}, {"id"', "Expecting ':' delimiter at character 17"),
        (b'[{"id": 1} {"id": 2}]', "expected ',' or ']' at character 11"),
        (b'[{"id": 1}] []', "more text at character 12"),
        (b'{"a": 1, b: 2}', "expected a name in double quotes at character 9"),
        (b'{"a" 1}', "expected ':' at character 5"),
        (b'[{"id": 1}, 2]', "record 2 of 2 is a number; expected an object"),
        (b"[null]", "record 1 of 1 is null; expected an object"),
        (b'[{"x": NaN}]', "NaN is no JSON, in the value at character 1"),
        (b'[{"x": 1e999}]', "1e999 is too large for a float, in the value at character 1"),
        (b'[{"x": ' + b"[" * 100_000, "it nests too deeply, in the value at character 1"),
        (b'[{"x": ' + b"1" * 5000 + b"}]", "Exceeds the limit"),
        (b'{"a": [], "b": []}', "it has the lists a, b; expected `records: PATH`"),
        (b'{"error": "no"}', "it has no list; expected `records: PATH` to say which holds the records; the keys of"),
        (b'"text"', "it has no list"),
    ],
)  # fmt: skip
def test_garbage_is_told_with_its_place(body: bytes, expected: str) -> None:
    with pytest.raises(BadPage) as caught:
        walked(body, None)
    assert expected in str(caught.value)
    with pytest.raises(BadPage):
        walked(body, None, small=SMALL)


def test_garbage_is_told_with_page_and_first_bytes() -> None:
    def answer(request: Request) -> Reply:
        return Reply(b"<!doctype html>\x00\xff" * 9) if request.query["page"] == "2" else Reply([{"id": 1}])

    assert fails(answer, pagination="page") == (
        "source http: page 2, URL/items?page=2: it is not UTF-8 at byte 16; it begins "
        f"'{'<!doctype html>x00xff' * 4}<!doctype ht'…".replace("x00xff", "\\x00\\xff")
    )


def test_records_that_are_not_where_they_should_be() -> None:
    text = fails(lambda _: Reply({"data": {"n": 1}}), records="data.items")
    assert "data.items is null; expected the list of records there; the keys of the page are 'data'" in text


def test_another_content_type_is_named() -> None:
    reply = Reply(b"<html>", headers={"Content-Type": "text/html; charset=utf-8"})
    assert fails(lambda _: reply).endswith("it begins '<html>' (content type 'text/html')")


def test_a_page_has_a_greatest_size_also_unpacked() -> None:
    body = gzip.compress(b" " * 100_000)
    text = fails(lambda _: Reply(body, headers={"Content-Encoding": "gzip"}), max_bytes=50_000)
    assert text == "source http: page 1, URL/items: the page is larger than max_bytes 50,000"


# --- the walk through JSON ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=4), max_size=6),
    JSON,
    st.sampled_from([None, 2]),
)
@example([], {}, None)
def test_the_walk_reads_what_the_standard_library_reads(
    rows: list[dict[str, Any]], other: Any, indent: int | None
) -> None:
    document = {"other": other, "data": {"x": other, "rows": rows}, "end": [other]}
    body = json.dumps(document, indent=indent).encode()

    found = walked(body, ("data", "rows"))
    assert found == (json.loads(body), rows)
    assert walked(body, ("data", "rows"), small=SMALL) == found


@given(st.binary(max_size=60) | st.text(alphabet='[]{}",:1e.- n\\u', max_size=40).map(str.encode))
def test_no_bytes_do_more_than_be_refused(body: bytes) -> None:
    try:
        document, found = walked(body, None)
    except BadPage:
        return
    assert found in ([], document) or found in document.values()
    assert json.loads(body) == document


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-be"])
def test_unicode_in_all_its_encodings(encoding: str) -> None:
    assert walked('[{"ä": "☃"}]'.encode(encoding), None)[1] == [{"ä": "☃"}]
