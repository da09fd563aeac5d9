from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest

from mlnb.errors import RegistryError
from mlnb.monitor.bars import bars
from mlnb.monitor.drawing import static
from mlnb.monitor.figures import figure, page, widget
from mlnb.monitor.reference import Reference, summarise
from mlnb.monitor.report import Report, build_report
from mlnb.registry.alarms import Alarm
from mlnb.service.log_reader import Batch

Rows = list[dict[str, object]]
Make = Callable[..., Report]


@pytest.fixture
def make(reference: Reference, draw: Callable[..., Rows], batch: Callable[..., Batch]) -> Make:
    def made(count: int = 600, *, labelled: bool = False, span: str = "day", per_day: int = 100) -> Report:
        log = batch(draw(count, 2, older=12), per_day=per_day)
        labels = dict.fromkeys(log.id, "yes") if labelled else None
        at = datetime(2026, 11, 22, tzinfo=UTC)
        return build_report(reference, [log], model="delays", version=7, at=at, span=span, labels=labels)

    return made


class Links(HTMLParser):
    """Collects what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in {"src", "href"} and value]


def test_the_figure_does_not_grow_with_the_rows(make: Make) -> None:
    small, large = (len(figure(make(rows, per_day=rows // 6)).to_json()) for rows in (600, 12_000))
    assert large < 1.1 * small


def test_the_figure_does_not_grow_with_the_windows_beyond_its_columns(make: Make) -> None:
    few, many = (len(figure(make(rows, per_day=2)).to_json()) for rows in (600, 2400))
    assert many < 1.1 * few < 60 * 1024


def test_the_dropdown_puts_the_chosen_feature_into_the_two_sides(make: Make) -> None:
    made = make()
    drawn = figure(made)
    menu = drawn.layout.updatemenus[0]
    assert [button.label.split()[0] for button in menu.buttons] == [
        column.name for column in (*made.features, *made.answers)
    ]
    last = menu.buttons[len(made.features) - 1]
    shown = bars(made.features[-1].feature, made.features[-1].tally)
    assert tuple(last.args[2]) == (2, 3)
    assert [trace.name for trace in drawn.data[2:4]] == ["reference", "current"]
    assert list(last.args[0]["x"][0]) == list(shown.labels)
    assert np.allclose(last.args[0]["y"][1], shown.current, rtol=1e-2)


def test_performance_has_a_panel_where_labels_are_known(make: Make) -> None:
    assert len(figure(make(labelled=True)).data) == len(figure(make()).data) + 2  # one class: no area under the curve
    assert figure(make(labelled=True)).layout.xaxis5.domain == (0, 1)


@pytest.mark.parametrize("span", ["hour", "day", "week", "month", "50 rows"])
def test_every_span_can_be_drawn(make: Make, span: str) -> None:
    made = make(span=span)
    assert figure(made).to_json()
    assert static(made)


def test_awkward_columns_can_be_drawn(batch: Callable[..., Batch], signature: object) -> None:
    silent = summarise(signature, {"age": [None] * 5, "price": [1.0] * 5}, ["no"] * 5)  # type: ignore[arg-type]
    log = batch([{"age": None, "price": 1e12, "city": "<b>" * 40}] * 3)
    made = build_report(silent, [log], model="delays", version=7, at=datetime(2026, 11, 22, tzinfo=UTC))
    assert figure(made).to_json()
    assert "<b><b>" not in page(made).split("<h2>Findings</h2>")[1]


def test_the_page_holds_plotly_once_and_fetches_nothing(make: Make) -> None:
    text = page(make(labelled=True))
    links = Links()
    links.feed(text)
    assert links.found == []
    assert len(re.findall(r"plotly\.js v\d", text)) == 1
    assert "default-src 'none'" in text
    assert "delays/7 answered 600 rows" in text


def test_a_widget_shows_what_is_chosen(make: Make) -> None:
    made = make()
    explorer = widget(made)
    before = tuple(explorer.plot.data[3].y)
    explorer.feature.value = "city"
    city = next(column for column in made.features if column.name == "city")
    assert list(explorer.plot.data[3].x) == list(bars(city.feature, city.tally).labels)
    explorer.window.value = 2
    shown = bars(city.feature, city.tallies[2])
    assert np.allclose(explorer.plot.data[3].y, shown.current, rtol=1e-2)
    assert "city</b> in 03 Jan 2013" in explorer.plot.layout.annotations[1].text
    explorer.feature.value, explorer.window.value = made.features[0].name, -1
    assert tuple(explorer.plot.data[3].y) == before


def test_the_static_form_is_a_picture_without_script(make: Make) -> None:
    text = static(make())
    assert text.count("<svg") >= 3 * 4
    assert "<script" not in text
    assert len(text) < 60 * 1024


def alarm(id: int, what: str = "age", *, day: int = 3, **seen: str) -> Alarm:
    window = f"2013-01-{day:02}T00:00:00Z/2013-01-{day + 1:02}T00:00:00Z"
    return Alarm("delays", "production", 7, what, "drift", window, f"{what} <moved>.", {"effect": 0.1}, id, "x", **seen)


@pytest.fixture
def alarmed(make: Make) -> Report:
    seen = {"acknowledged_at": "2013-01-05T00:00:00.000000Z", "acknowledged_by": "anna", "note": "<known>"}
    return replace(make(), alarms=(alarm(1, day=2, **seen), alarm(2), alarm(3, "prediction"), alarm(4, day=20)))


@pytest.mark.parametrize("span", ["day", "200 rows"])
def test_alarms_are_marks_at_their_feature_and_window(make: Make, alarmed: Report, span: str) -> None:
    drawn = figure(replace(make(span=span), alarms=alarmed.alarms))
    (marks,) = [trace for trace in drawn.data if trace.type == "scatter" and trace.yaxis == "y3"]
    assert list(marks.y) == ["age", "age"]  # what is no feature, and what is not on the axis, is told elsewhere
    assert list(marks.marker.symbol) == ["triangle-down-open", "triangle-down"]
    assert list(marks.x) == (["2013-01-02T12:00", "2013-01-03T12:00"] if span == "day" else [1, 2])
    assert marks.customdata[1][2] == "age &lt;moved&gt;."
    assert not [trace for trace in figure(make()).data if trace.yaxis == "y3" and trace.type == "scatter"]


def test_page_and_static_picture_tell_the_open_alarms_and_those_that_were_seen(alarmed: Report) -> None:
    for text in (page(alarmed), static(alarmed)):
        assert "▼ alarm 2" in text and "▼ alarm 3" in text and "age &lt;moved&gt;." in text
        assert "▽ alarm 1, drift of age: acknowledged 2013-01-05 by anna: &lt;known&gt;" in text
        assert "1 acknowledged alarm<" in text


def test_an_alarm_is_acknowledged_by_its_button_and_a_refusal_is_shown(alarmed: Report) -> None:
    asked: list[tuple[int, str]] = []

    def acknowledge(id: int, note: str) -> Alarm:
        asked.append((id, note))
        if id == 3:
            raise RegistryError("Somebody was faster.", "There is nothing left to do.")
        return alarm(id, acknowledged_at="2013-01-06T00:00:00.000000Z", acknowledged_by="ben", note=note)

    explorer = widget(alarmed, acknowledge)
    first, second = explorer.alarms[:2]
    assert "age &lt;moved&gt;." in first.told.value
    first.note.value = "<seen>"
    first.button.click()
    second.button.click()
    assert asked == [(2, "<seen>"), (3, "")]
    assert first.told.value == "▽ alarm 2 is acknowledged by ben: &lt;seen&gt;"
    assert first.children == (first.told,)
    assert "Somebody was faster. There is nothing left to do." in second.told.value
    assert widget(alarmed).alarms == []


def test_the_report_tells_its_alarms_in_json(alarmed: Report) -> None:
    told = alarmed.to_json()["alarms"]
    assert [(one["id"], one["what"], one["version"]) for one in told] == [
        (1, "age", "delays/7"), (2, "age", "delays/7"), (3, "prediction", "delays/7"), (4, "age", "delays/7"),
    ]  # fmt: skip
