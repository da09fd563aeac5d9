"""Requests about promotions become looks and acts in the notebook's project, for whoever the server says is asking.

They are done in the server's own process, in a thread: no command has to start first. Looking at versions executes
nothing of theirs. Judging does: where a gate compares with the champion, the packages of both are loaded, with what of
them can execute code only if a key that this user trusts has signed it; and gates of plug-ins are asked.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from mlnb.errors import MlnbError, UsageError
from mlnb.faces.handler import MlnbHandler
from mlnb.faces.request import read_text
from mlnb.identity import in_lab

if TYPE_CHECKING:
    from mlnb.project import Project

KEPT = 32
T = TypeVar("T")
_Stamp = tuple[object, ...]
_ANONYMOUS = re.compile(r"[0-9a-f]{32}")  # what the server calls whoever has its token or its password


class OpenProjects:
    """The projects of a server, kept open for each person until their settings or their ledgers are replaced."""

    def __init__(self) -> None:
        self._open: dict[tuple[Path, str], tuple[_Stamp, Project]] = {}
        self._lock = Lock()

    def of(self, notebook: Path, actor: str) -> Project:
        """Return the project of a notebook, in which `actor` acts.

        Raises
        ------
        UsageError
            If nothing was ever run there: looking makes no project.
        """
        from mlnb.project import Project

        root = Project.find(notebook=notebook).root
        if not (root / ".mlnb").is_dir():
            raise UsageError(f"There is no mlnb project at {root} yet.", "Run the notebook's pipeline first.")
        key, stamp = (root, actor), (_stamp(root / "pyproject.toml"), _stamp(root / ".mlnb" / "format.json"))
        with self._lock:
            known = self._open.pop(key, None)
            project = known[1] if known is not None and known[0] == stamp else Project(root, actor)
            self._open[key] = stamp, project
            for old in list(self._open)[:-KEPT]:
                del self._open[old]
        return project

    def settle(self) -> tuple[str, ...]:
        """Do what moves of aliases have left undone in the open projects; return what could not be looked at."""
        with self._lock:
            projects = {project.root: project for _, project in self._open.values()}
        problems = []
        for root, project in projects.items():
            if project.left_undone:
                try:
                    project.effects.deliver(0.0)
                except MlnbError as error:
                    problems.append(f"{root}: {error.problem}")
        return tuple(problems)


class ProjectHandler(MlnbHandler):
    """What is asked and done in a project."""

    @property
    def anonymous(self) -> bool:
        """Whether the server does not know who is asking: whoever has its token.

        The username alone says so: a browser gives itself any other name that it likes (``PATCH /api/me``).
        """
        return bool(_ANONYMOUS.fullmatch(self.current_user.username))

    async def ask(self, path: str, question: Callable[[Project], T]) -> T:
        """Return what the project of a notebook answers to whoever is asking."""
        notebook = self.notebook(path)
        actor = in_lab(self.current_user.username, self.anonymous)
        projects: OpenProjects = self.settings["mlnb_projects"]
        return await asyncio.to_thread(lambda: question(projects.of(notebook, actor)))


class PromotionHandler(ProjectHandler):
    """What there is to decide."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the board of a model and an alias."""
        from mlnb.faces.promotion import board

        path, model = self.get_query_argument("path"), self.get_query_argument("model")
        alias, ref = self.get_query_argument("alias", ""), self.get_query_argument("ref", "")
        named = not self.anonymous
        self.answer(await self.ask(path, lambda project: board(project, model, alias, ref, named=named)))


class RevisionHandler(ProjectHandler):
    """Whether there is something else to decide by now."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the project's revision."""
        from mlnb.faces.promotion import revision

        self.answer(await self.ask(self.get_query_argument("path"), revision))


class ActHandler(ProjectHandler):
    """An act of whoever is asking."""

    act = "promote"

    @authenticated
    @authorized
    async def post(self) -> None:
        """Do it, and answer what came of it, as the command does with ``--json``."""
        from mlnb.faces import promotion
        from mlnb.faces.plain import plain

        body = self.body()
        act: Callable[..., object] = getattr(promotion, self.act)
        self.answer(plain(await self.ask(read_text(body, "path"), lambda project: act(project, body))))


class PromoteHandler(ActHandler):
    """Promotion."""


class RollbackHandler(ActHandler):
    """Rolling back."""

    act = "rollback"


class ApproveHandler(ActHandler):
    """Approval."""

    act = "approve"


def _stamp(path: Path) -> object:
    """Return what changes with a file; None where it is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
