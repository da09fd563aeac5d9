"""Verbs that have a picture show it in the notebook: the plan's graph, the promotion's button, the drift's figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlnb.faces.html import bundle, text_html

if TYPE_CHECKING:
    from mlnb.project import Project

_REGISTERED = ("lineage", "at", "search", "list")
OF_MODELS = ("card", "explain", "compare", *_REGISTERED)
"""The verbs of the group ``models`` that have a picture."""


def show_plan(words: Sequence[str], states: Mapping[str, str]) -> None:
    """Show the graph of a notebook, and how its stages stand in this kernel."""
    from IPython.display import display

    from mlnb.faces.verbs import plan
    from mlnb.pipeline.describe import describe
    from mlnb.pipeline.drawing import svg

    given = plan.make_context("plan", list(words)).params
    pipeline = _project(given["project"], given["notebook"]).plan(given["notebook"])
    here = [f"{stage.name} {states.get(stage.name, 'not run')}" for stage in pipeline.stages] if states else []
    kernel = f"In this kernel: {', '.join(here)}." if here else ""
    display(bundle(svg(pipeline) + text_html(kernel), "\n".join([*describe(pipeline), kernel]).rstrip()), raw=True)


def show_promote(model: str) -> None:
    """Show the versions of a model, and the button that promotes one."""
    from IPython.display import display

    from mlnb.faces.widgets import Promote

    display(Promote(model))


def show_monitor(words: Sequence[str]) -> None:
    """Show what a service is asked against what its model has learned from."""
    from IPython.display import display

    from mlnb.faces.verbs import monitor
    from mlnb.monitor.figures import widget

    given = monitor.make_context("monitor", list(words)).params
    project = _project(given["project"], None)
    asked = {name: given[name] for name in ("alias", "span", "labels", "joint")}
    report = project.monitor(given["model"], **asked)
    display(widget(report, project.alarms.acknowledge))


def show_model(words: Sequence[str]) -> None:
    """Show what a verb about versions says: a card, shares, a comparison, lineage, a time line, a table."""
    from mlnb.faces.models import models

    given = models.commands[words[0]].make_context(words[0], list(words[1:])).params
    project = _project(given["project"], None)
    if words[0] == "card":
        from mlnb.faces import card
        from mlnb.faces.card_shares import card_for

        card.show(card_for(project, given["ref"], shap=given["shap"]))
        return
    if words[0] == "compare":
        from mlnb.faces import comparison_page, versus

        versus.refuse_ignored(live=given["live"], alpha=given["alpha"], html=given["html"])
        if given["live"]:
            versus.show(versus.compared(project, given["first"], given["second"], given["alpha"]))
        else:
            comparison_page.show(project, given["first"], given["second"])
        return
    if words[0] in _REGISTERED:
        _show_registered(words[0], given, project)
        return
    from mlnb.faces import explain

    wanted = explain.Wanted(given["row"], given["output"], given["budget"])
    explain.show(explain.explained(project, given["ref"], wanted))


def _show_registered(verb: str, given: Mapping[str, Any], project: Project) -> None:
    from mlnb.faces import lineage, shelf, timeline
    from mlnb.faces.view import Listed

    if verb == "lineage":
        lineage.show(project, given["ref"])
    elif verb == "at":
        timeline.show(project, given["ref"], " ".join(given["when"]))
    elif verb == "search":
        shelf.show(shelf.searched(project, given["words"], given["best"], given["limit"] or 0), given["best"])
    else:
        shelf.show(Listed.of(project.models, given["model"]))


def _project(folder: Path | None, notebook: Path | None) -> Project:
    from mlnb.faces.verb import Asked

    return Asked(folder=folder).project(notebook)
