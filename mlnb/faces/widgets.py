"""A model's versions become a widget whose one button promotes: it calls the same verbs as ``mlnb promote``.

Saved and shown without a kernel, the widget is a table: its MIME bundle holds static HTML beside the live view.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import ipywidgets

from mlnb.errors import MlnbError
from mlnb.faces import view
from mlnb.faces.board import SIGNS

if TYPE_CHECKING:
    from mlnb.project import Project
    from mlnb.registry.gates import Verdict
    from mlnb.registry.version import Promotion, Version

_ALIASES = ("staging", "production", "challenger")
_HEADERS = ("version", "aliases", "metrics", "exporter", "created")
_CELL = '<td style="text-align:left;padding:2px 14px 2px 0">'


class Promote(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets is untyped
    """Choose a version and an alias, and promote.

    Parameters
    ----------
    model : str
        The model's name.
    project : Project, optional
        Where it is registered; by default the project of the working directory.

    Raises
    ------
    RegistryError
        If there is no such model.

    Attributes
    ----------
    version, alias, reason, button, back : ipywidgets.Widget
        What a person chooses and clicks: the version, the alias, why, "Promote", "Roll back".
    message : ipywidgets.HTML
        What the last click did.
    """

    def __init__(self, model: str, project: Project | None = None) -> None:
        from mlnb.project import Project as Found

        self._model = model
        self._project = project or Found.find()
        versions = self._versions()
        self._table = ipywidgets.HTML()
        self._gates = ipywidgets.HTML()
        self.message = ipywidgets.HTML()
        self.version = ipywidgets.Dropdown(options=[version.ref for version in versions], description="version")
        self.alias = ipywidgets.Combobox(options=_ALIASES, value="production", description="alias", ensure_option=False)
        self.reason = ipywidgets.Text(description="reason", placeholder="kept in the audit log")
        self.button = ipywidgets.Button(description="Promote", button_style="primary", tooltip="Move the alias here")
        self.back = ipywidgets.Button(description="Roll back", tooltip="Move the alias back to where it was")
        self.button.on_click(self._promote)
        self.back.on_click(self._roll_back)
        self.version.observe(self._redraw, "value")
        rows = [
            ipywidgets.HBox([self.version, self.alias, self.reason]),
            ipywidgets.HBox([self.button, self.back, self.message]),
        ]
        super().__init__([self._table, self._gates, *rows])
        self.add_class("mlnb-promote")
        self._redraw()

    def _repr_mimebundle_(self, **options: object) -> object:
        """Return the live view, with a static table for readers that have no kernel."""
        made = super()._repr_mimebundle_(**options)
        static = {"text/html": self._table.value + self._gates.value, "text/plain": self._text()}
        if isinstance(made, tuple):
            return {**made[0], **static}, made[1]
        return {**(made or {}), **static}

    def _promote(self, button: object) -> None:
        self._act(lambda: self._project.promote(self.version.value, self.alias.value, reason=self.reason.value))

    def _roll_back(self, button: object) -> None:
        self._act(lambda: self._project.rollback(self._model, self.alias.value, reason=self.reason.value))

    def _act(self, verb: Callable[[], Promotion]) -> None:
        self.button.disabled = self.back.disabled = True
        try:
            told = next(iter(view.promotion_lines(verb())))
            colour = "#2e7d32"
        except MlnbError as error:
            told, colour = f"{error.problem} {error.remedy}", "#c62828"
        finally:
            self.button.disabled = self.back.disabled = False
        self.message.value = f'<span class="mlnb-result" role="status" style="color:{colour}">{escape(told)}</span>'
        self._redraw()

    def _versions(self) -> list[Version]:
        return sorted(self._project.models.list(self._model), key=lambda version: -version.number)

    def _redraw(self, change: object = None) -> None:
        from mlnb.ship import judged

        listed = view.Listed.of(self._project.models, self._model)
        self._table.value = _table(listed, str(self.version.value))
        chosen = next((version for version in listed.versions if version.ref == self.version.value), None)
        self._gates.value = _gates(chosen, judged(chosen, self._project.audit)[1]) if chosen else ""

    def _text(self) -> str:
        return "\n".join(view.version_table(view.Listed.of(self._project.models, self._model)))


def _table(listed: view.Listed, chosen: str) -> str:
    head = "".join(f'<th style="text-align:left;padding:2px 14px 2px 0">{name}</th>' for name in _HEADERS)
    rows = []
    for version in reversed(listed.versions):
        aliases = ", ".join(listed.aliases.get(version.ref, ()))
        cells = (
            version.ref,
            aliases,
            view.metrics_text(version.metrics),
            version.exporter,
            view.moment(version.created_at),
        )
        weight = "bold" if version.ref == chosen else "normal"
        drawn = "".join(f"{_CELL}{escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr data-version="{escape(version.ref)}" style="font-weight:{weight}">{drawn}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _gates(version: Version, verdicts: tuple[Verdict, ...]) -> str:
    """Return what the gates of one version found."""
    if not verdicts:
        return f"<p>{escape(version.ref)} was judged by no gate.</p>"
    items = "".join(
        f"<li>{SIGNS['done' if verdict.passed else 'failed']} {escape(verdict.sentence)}</li>" for verdict in verdicts
    )
    return f'<p>Gates of {escape(version.ref)}</p><ul style="list-style:none;margin:0;padding-left:8px">{items}</ul>'
