"""A model becomes the widget that promotes it: candidate against champion, gates, history, and the buttons that decide.

Four forms of one thing, and a front end shows the first that it can. In JupyterLab and Notebook 7 our own extension
draws the panel and asks the server: it acts for whoever is logged in there, and needs no kernel. Elsewhere the same
panel is an anywidget and asks this kernel, whose user then acts. Saved and shown without either it is tables in HTML,
or text.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import anywidget
import traitlets

import mlnb
from mlnb.errors import MlnbError, StorageError
from mlnb.faces import view
from mlnb.faces.messages import API_VERSION
from mlnb.faces.plain import plain
from mlnb.faces.promotion import PROMOTION, approve, board, promote, revision, rollback, static_html
from mlnb.faces.replies import fault

if TYPE_CHECKING:
    from mlnb.faces.messages import PromotionBoard
    from mlnb.project import Project

SCRIPT = Path(mlnb.__file__).parent / "labextension" / "static" / "promotion.js"
_ACTS = {"promote": promote, "rollback": rollback, "approve": approve}


class Promote(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget is untyped here
    """Choose a version and an alias, and promote, roll back or approve.

    Parameters
    ----------
    model : str
        The model's name.
    project : Project, optional
        Where it is registered; by default the project of the working directory.
    alias : str
        What is shown first; empty for ``production``.

    Raises
    ------
    RegistryError
        If there is no such model.
    StorageError
        If this mlnb was installed without its front end.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    model = traitlets.Unicode(read_only=True).tag(sync=True)
    alias = traitlets.Unicode(read_only=True).tag(sync=True)

    def __init__(self, model: str, project: Project | None = None, alias: str = "") -> None:
        from mlnb.project import Project as Found

        self._project = project or Found.find()
        self._project.models.newest(model, 1)  # which says so where there is no such model
        self._chosen = {"alias": alias, "ref": ""}
        super().__init__(_esm=_script())
        self.set_trait("model", model)
        self.set_trait("alias", alias)
        self.on_msg(self._asked)

    def answer(self, message: Mapping[str, object]) -> object:
        """Return what a message of the panel asks for: a look, the revision, or what came of an act.

        Raises
        ------
        MlnbError
            As the acts of `Project`.
        """
        asked = message.get("ask")
        if asked == "revision":
            return revision(self._project)
        if isinstance(asked, str) and asked in _ACTS:
            return plain(_ACTS[asked](self._project, message))
        return self._board(str(message.get("alias") or ""), str(message.get("ref") or ""))

    def _asked(self, widget: object, message: Mapping[str, object], buffers: object) -> None:
        """Answer a page; the id is the page's own."""
        try:
            reply = {"id": message.get("id"), "answer": self.answer(message)}
        except MlnbError as error:
            reply = {"id": message.get("id"), "fault": fault(error, 400)}
        except Exception as error:  # the panel that asked would wait for an answer
            reply = {"id": message.get("id"), "fault": fault(_unknown(error), 500)}
        self.send(reply)

    def _board(self, alias: str, ref: str) -> PromotionBoard:
        shown = board(self._project, self.model, alias, ref, named=False)
        self._chosen = {"alias": shown["alias"], "ref": shown["candidate"]}
        return shown

    def _repr_mimebundle_(self, **options: object) -> object:
        """Return all four forms."""
        shown = self._board(**self._chosen)
        made = super()._repr_mimebundle_(**options)
        ours = {
            PROMOTION: {
                "api": API_VERSION,
                "model": self.model,
                "alias": shown["alias"],
                "project": shown["project"],
            },
            "text/html": static_html(shown),
            "text/plain": "\n".join(view.version_table(view.Listed.of(self._project.models, self.model))),
        }
        if isinstance(made, tuple):
            return {**made[0], **ours}, made[1]
        return {**(made or {}), **ours}


def _unknown(error: Exception) -> MlnbError:
    """Return what to tell of an error that nobody expected; the kernel's log has all of it."""
    traceback.print_exception(error)
    return MlnbError(
        f"mlnb met an error that it does not know: {type(error).__name__}: {error}.", "Read the kernel's log."
    )


def _script() -> str:
    try:
        return SCRIPT.read_text("utf-8")
    except OSError as error:
        raise StorageError(
            f"The front end of mlnb is not at {SCRIPT}.",
            "Install mlnb from its wheel, or build it: python labextension/bundle.py.",
            path=str(SCRIPT),
        ) from error
