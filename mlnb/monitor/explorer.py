"""A report becomes a widget: choose feature and window, by menu or by a click into the plot.

A widget lives only beside a kernel. So two things are displayed: a static table, and the widget, whose presence hides
the table (``:has(.mlnb-live)``). Where a notebook is read without its kernel, the table is what remains to be seen.
"""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, cast

import ipywidgets
import plotly.graph_objects as go
from IPython.display import HTML, display

from mlnb.errors import MlnbError
from mlnb.monitor import panels
from mlnb.monitor.bars import bars
from mlnb.monitor.drawing import sentences, static
from mlnb.monitor.report import Column, Report
from mlnb.monitor.span import instant

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlnb.registry.alarms import Alarm

LIVE = "mlnb-live"
ALL = "all windows"
_HIDE = f"<style>.jp-OutputArea:has(.{LIVE}) .mlnb-static,.output:has(.{LIVE}) .mlnb-static{{display:none}}</style>"


class Explorer(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """The dashboard of a report with a choice of feature and window.

    Parameters
    ----------
    report : Report
        What is shown.
    dashboard : plotly.graph_objects.Figure
        The dashboard without a menu of its own.
    title : callable
        Returns the title above a feature's distribution.
    acknowledge : callable
        Acknowledges an alarm, given its number and a note; None shows alarms without buttons.

    Attributes
    ----------
    feature, window : ipywidgets.Dropdown
        The choices; setting ``.value`` redraws.
    plot : plotly.graph_objects.FigureWidget
    alarms : list of Bell
        The open alarms, where they can be acknowledged.
    """

    def __init__(
        self,
        report: Report,
        dashboard: go.Figure,
        title: Callable[[Column, str], str],
        acknowledge: Callable[[int, str], Alarm] | None = None,
    ) -> None:
        self._report = report
        self._columns = {column.name: column for column in (*report.answers, *report.features)}
        self._title = title
        names = [column.name for column in (*report.features, *report.answers)]
        self.feature = ipywidgets.Dropdown(options=list(dict.fromkeys(names)), description="feature")
        self.window = ipywidgets.Dropdown(options=_windows(report), description="window")
        self.plot = go.FigureWidget(dashboard)
        self.plot._config = {**self.plot._config, "responsive": True, "displayModeBar": False}
        self.feature.observe(self._redraw, "value")
        self.window.observe(self._redraw, "value")
        self.plot.data[0].on_click(self._choose)
        choice = ipywidgets.HBox([self.feature, self.window])
        self.alarms = [Bell(alarm, acknowledge) for alarm in report.standing] if acknowledge else []
        told = ipywidgets.HTML(sentences(replace(report, alarms=()) if self.alarms else report))
        super().__init__([*self.alarms, told, choice, self.plot])
        self.add_class(LIVE)

    def _ipython_display_(self) -> None:
        display(HTML(f'{_HIDE}<div class="mlnb-static">{static(self._report)}</div>'))
        bundle = cast("dict[str, object]", self._repr_mimebundle_())
        display({**bundle, "text/plain": ""}, raw=True)  # the table above says more than a widget's name

    def _choose(self, _trace: object, points: object, _state: object) -> None:
        """Follow a click on a bar of the ranking."""
        places = cast("list[int]", getattr(points, "point_inds", []))
        if places:
            shown = self._report.features[: panels.SHOWN][::-1]
            self.feature.value = shown[places[0]].name

    def _redraw(self, _change: object) -> None:
        column, place = self._columns[self.feature.value], self.window.value
        tally = column.tally if place < 0 else column.tallies[place]
        when = "" if place < 0 else str(self.window.label).partition(",")[0]
        shown = bars(column.feature, tally)
        with self.plot.batch_update():
            for trace, side in zip(self.plot.data[2:4], panels.distribution(shown), strict=True):
                trace.x, trace.y = side.x, side.y
            self.plot.layout.xaxis2.update(panels.distribution_axis(shown))
            self.plot.layout.annotations[1].text = self._title(column, when)


class Bell(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """An open alarm with its reason, a note, and the button that acknowledges it.

    Attributes
    ----------
    button : ipywidgets.Button
    note : ipywidgets.Text
    told : ipywidgets.HTML
        The reason; afterwards who has acknowledged it, or why that was refused.
    """

    def __init__(self, alarm: Alarm, acknowledge: Callable[[int, str], Alarm]) -> None:
        self._alarm = alarm
        self._acknowledge = acknowledge
        head = f"<b>alarm {alarm.id}</b>, {escape(alarm.kind)} of <b>{escape(alarm.what)}</b>"
        self._head = f'<span style="color:{panels.RED}">▼</span> {head}'
        self.told = ipywidgets.HTML(f"{self._head}: {escape(alarm.reason)}")
        self.note = ipywidgets.Text(placeholder="what you make of it")
        self.button = ipywidgets.Button(description="Acknowledge", tooltip=f"You have seen alarm {alarm.id}")
        self.button.on_click(self._click)
        super().__init__([self.told, ipywidgets.HBox([self.note, self.button])])

    def _click(self, _button: object) -> None:
        try:
            seen = self._acknowledge(self._alarm.id, self.note.value)
        except MlnbError as error:
            self.told.value = f"{self._head}: {escape(error.problem)} {escape(error.remedy)}"
            return
        note = f": {escape(seen.note)}" if seen.note else "."
        self.told.value = f"▽ alarm {seen.id} is acknowledged by {escape(seen.acknowledged_by)}{note}"
        self.children = [self.told]


def _windows(report: Report) -> list[tuple[str, int]]:
    pattern = {"hour": "%d %b %Y %H:%M", "month": "%b %Y"}.get(report.span, "%d %b %Y")
    choices = [(ALL, -1)]
    for place, window in enumerate(report.windows):
        if window.rows:
            start = instant(window.start).strftime(pattern)
            name = start if panels.by_time(report) else f"{place + 1} ({start})"
            choices.append((f"{name}, {window.rows:,} rows", place))
    return choices
