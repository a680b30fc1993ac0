"""Text becomes HTML in one place, and nothing that comes from a record becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cli.escaping import escape
from runner.cli.page import words
from runner.cli.page.markup import Html, join, redacting, tag, text, text_lines
from runner.cli.page.scale import percent, tick_text, ticks


class Parsed(HTMLParser):
    """What a browser would see: tags with their attributes, and all text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((name, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.said += data


@given(st.text(alphabet=st.characters(), max_size=60))
def test_any_text_comes_back_as_text_and_as_nothing_else(value: str) -> None:
    parsed = Parsed(tag("p", value, title=value))

    assert parsed.tags == [("p", {"title": escape(value)})]
    assert parsed.said == escape(value)


@given(st.text(alphabet="<>&\"'/ab \n", max_size=60))
def test_markup_in_names_is_text_wherever_it_stands(value: str) -> None:
    parsed = Parsed(tag("div", [tag("b", value), value], None, words.name(value), data_job=value))

    assert [name for name, _ in parsed.tags] == ["div", "b", "bdi"]
    assert parsed.said == escape(value) * 3


def test_markup_is_not_escaped_twice() -> None:
    assert tag("p", tag("b", "a & b"), " & ") == "<p><b>a &amp; b</b> &amp; </p>"
    assert text(Html("<br>")) == "<br>"
    assert join("a", None, ["<", ["b"]]) == "a&lt;b"


def test_attributes_that_are_none_or_false_are_left_out() -> None:
    written = tag(
        "svg", viewBox="0 0 1 1", class_="a", data_job="x", open=True, hidden=False, title=None, y=0
    )

    assert written == '<svg viewBox="0 0 1 1" class="a" data-job="x" open y="0"></svg>'


def test_secrets_are_masked_before_they_are_escaped() -> None:
    secret = "p<ss&w\x1bord"

    with redacting(lambda value: value.replace(secret, "***")):
        assert tag("p", f"at {secret}", title=secret) == '<p title="***">at ***</p>'
        assert text_lines(f"a\n{secret}") == "a\n***"
    assert "p&lt;ss&amp;w" in text(secret)


def test_lines_stay_lines_and_controls_are_seen() -> None:
    assert text_lines("a\r\n<b>\x1b[31m") == "a\\r\n&lt;b&gt;\\x1b[31m"


@given(st.floats(min_value=0.01, max_value=10**9))
def test_ticks_are_round_few_and_within(whole: float) -> None:
    places = ticks(whole)

    assert places[0] == 0
    assert places[-1] <= whole
    assert whole - places[-1] < max(places[1:2], default=whole * 1.01)
    assert 1 <= len(places) <= 6


@pytest.mark.parametrize(
    ("ms", "said"), [(0, "0"), (250, "250 ms"), (1_500, "1.5 s"), (120_000, "2 min"), (5_400_000, "1.5 h")]
)
def test_ticks_are_told_without_zeros(ms: float, said: str) -> None:
    assert tick_text(ms) == said


@given(st.floats(min_value=0, max_value=1), st.floats(min_value=1e-3, max_value=1e9))
def test_places_are_exact_to_a_millionth(part: float, whole: float) -> None:
    assert float(percent(part * whole, whole).rstrip("%")) == pytest.approx(100 * part, abs=1e-4)


def test_of_nothing_everything_is_at_the_start() -> None:
    assert percent(5, 0) == "0%"


@pytest.mark.parametrize(
    ("now", "usual", "said"),
    [(112, 100, "+12 %"), (97, 100, "-3 %"), (100.2, 100, "±0 %"), (340, 100, "3.4 times"), (5, 0, "")],
)
def test_a_change_is_told_as_people_say_it(now: float, usual: float, said: str) -> None:
    assert words.change(now, usual) == said


@pytest.mark.parametrize(
    ("part", "said"),
    [(0, "-"), (1e-9, "<1 %"), (0.005, "<1 %"), (0.0051, "1 %"), (0.62, "62 %"), (1, "100 %")],
)
def test_what_is_there_is_never_told_as_nothing(part: float, said: str) -> None:
    assert words.share(part) == said
