"""The Jupyter server extension: authenticated requests under ``mlnb/api`` become verbs, and runs that can be followed.

=======  ==================  =====================================================================
POST     runs                start the saved notebook's pipeline; 201 with an id
GET      runs?path=          a list: the newest run of a notebook, if this server started one
GET      runs/<id>           its snapshot
GET      runs/<id>/events    its changes as server-sent events; ``?after=`` a sequence number
DELETE   runs/<id>           cancel it
POST     marks               what the given cells are marked as, saved or not
GET      plan?path=          the saved notebook's stages
GET      versions?path=      what ``mlnb models list --json`` answers in the notebook's project
GET      promotion?path=     what there is to decide about an alias: ``model``, ``alias``, ``ref``
GET      promotion/revision  ``?path=``: another text as soon as anything of that is
POST     promote, rollback   move an alias, as the commands do, for whoever is logged in
POST     approve             approve of a version for an alias, in the same way
=======  ==================  =====================================================================

The messages are in `mlnb.faces.messages`. Paths are relative to the server's root and stay below it. A notebook is
never written: the front end has it open.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_server.auth.decorator import authorized
from jupyter_server.extension.application import ExtensionApp
from tornado.ioloop import PeriodicCallback
from tornado.iostream import StreamClosedError
from tornado.web import authenticated

from mlnb.faces.handler import MlnbHandler
from mlnb.faces.live import LiveRuns, command
from mlnb.faces.messages import API_VERSION, MarksReply, RunAccepted, RunSnapshot
from mlnb.faces.promoting import (
    ApproveHandler,
    OpenProjects,
    PromoteHandler,
    PromotionHandler,
    RevisionHandler,
    RollbackHandler,
)
from mlnb.faces.replies import cell_mark, plan_reply
from mlnb.faces.request import RefusedError, read_assignments, read_text
from mlnb.run.kernels.warm import let_go

if TYPE_CHECKING:
    from mlnb.pipeline.graph import Pipeline

HEARTBEAT_S = 15.0
SETTLE_S = 30.0


class RunsHandler(MlnbHandler):
    """Start a run; find the newest."""

    @authenticated
    @authorized
    async def post(self) -> None:
        """Start a run of the saved notebook."""
        body = self.body()
        path = read_text(body, "path")
        run = await self.runs.start(path, self.notebook(path), read_assignments(body.get("parameters")))
        accepted: RunAccepted = {"id": run.fold.id}
        self.set_status(201)
        self.answer(accepted)

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the newest run's snapshot in a list, or with an empty list."""
        run = self.runs.newest(self.get_query_argument("path"))
        found: list[RunSnapshot] = [] if run is None else [run.fold.snapshot()]
        self.answer(found)


class RunHandler(MlnbHandler):
    """One run."""

    @authenticated
    @authorized
    async def get(self, id: str) -> None:
        """Answer with the run as it stands."""
        self.answer(self.runs.get(id).fold.snapshot())

    @authenticated
    @authorized
    async def delete(self, id: str) -> None:
        """Cancel the run; the answer comes when its process has gone."""
        await self.runs.get(id).stop()
        self.set_status(204)
        self.finish()


class EventsHandler(MlnbHandler):
    """The changes of one run as server-sent events."""

    @authenticated
    @authorized
    async def get(self, id: str) -> None:
        """Send the changes after ``?after=``, past and future; the stream ends with the run."""
        run = self.runs.get(id)
        after = self.get_query_argument("after", "0")
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Accel-Buffering", "no")
        beat = asyncio.create_task(self._beat())
        try:
            async for change in run.changes(int(after) if after.isdecimal() else 0):
                await self._send(f"id: {change['sequence']}\ndata: {json.dumps(change)}\n\n")
            self.finish()
        except StreamClosedError:
            return
        finally:
            beat.cancel()

    async def _send(self, text: str) -> None:
        self.write(text)
        await self.flush()

    async def _beat(self) -> None:
        """Keep proxies from closing a quiet stream."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self._send(": still here\n\n")


class MarksHandler(MlnbHandler):
    """Marks of cells as they stand in the editor."""

    @authenticated
    @authorized
    async def post(self) -> None:
        """Answer with each cell's mark, or null."""
        cells = self.body().get("cells")
        if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
            raise RefusedError(400, "cells is not a list of objects.", "Send cells with their source and tags.")
        reply: MarksReply = {"api": API_VERSION, "marks": [cell_mark(cell) for cell in cells]}
        self.answer(reply)


class PlanHandler(MlnbHandler):
    """The saved notebook as a pipeline."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the stages, or with why there are none."""
        path = self.get_query_argument("path")
        self.answer(plan_reply(path, await asyncio.to_thread(_plan, self.notebook(path))))


class VerbHandler(MlnbHandler):
    """Verbs that the command line answers in JSON."""

    async def pass_on(self, path: str, *words: str) -> None:
        """Run a verb in the notebook's project and pass its answer on."""
        done = await asyncio.to_thread(
            subprocess.run,
            command(*words, "--json"),
            cwd=self.notebook(path).parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise RefusedError(500, f"mlnb {words[0]} broke off: {last}.", "Run `mlnb doctor` in a terminal.") from None
        if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
            error = answer["error"]
            raise RefusedError(400, str(error.get("problem", "")), str(error.get("remedy", "")))
        self.answer(answer)


class VersionsHandler(VerbHandler):
    """The registered versions."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the versions of the notebook's project."""
        await self.pass_on(self.get_query_argument("path"), "models", "list")


class MlnbServer(ExtensionApp):
    """The extension ``mlnb`` of a Jupyter server."""

    name = "mlnb"

    def initialize_settings(self) -> None:
        """Give the handlers this server's runs and projects."""
        self._runs = LiveRuns()
        self.settings["mlnb_runs"] = self._runs
        self._projects = OpenProjects()
        self.settings["mlnb_projects"] = self._projects
        self._settling = PeriodicCallback(self._settle, SETTLE_S * 1000)
        self._settling.start()

    def initialize_handlers(self) -> None:
        """Add the routes."""
        self.handlers.extend(
            [
                (r"/mlnb/api/runs", RunsHandler),
                (r"/mlnb/api/runs/([0-9a-f]{16})", RunHandler),
                (r"/mlnb/api/runs/([0-9a-f]{16})/events", EventsHandler),
                (r"/mlnb/api/marks", MarksHandler),
                (r"/mlnb/api/plan", PlanHandler),
                (r"/mlnb/api/versions", VersionsHandler),
                (r"/mlnb/api/promotion", PromotionHandler),
                (r"/mlnb/api/promotion/revision", RevisionHandler),
                (r"/mlnb/api/promote", PromoteHandler),
                (r"/mlnb/api/rollback", RollbackHandler),
                (r"/mlnb/api/approve", ApproveHandler),
            ]
        )

    async def _settle(self) -> None:
        """Try again what promotions could not cause: a service that was down, a message that nobody took."""
        for problem in await asyncio.to_thread(self._projects.settle):
            self.log.warning("mlnb: effects of promotions wait: %s", problem)

    async def stop_extension(self) -> None:
        """Stop what the server started."""
        self._settling.stop()
        await self._runs.stop()
        let_go()


def _plan(file: Path) -> Pipeline:
    from mlnb.project import Project

    return Project.find(notebook=file).plan(file)


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    return [{"module": "mlnb.faces.server", "app": MlnbServer}]
