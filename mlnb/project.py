"""The parts put together: every face, whether a terminal, a magic, a widget or the server, uses only `Project`.

Making one costs nothing; each part is made, and its libraries are loaded, when it is first asked for.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mlnb import plugins
from mlnb.errors import UsageError
from mlnb.run.options import DEFAULTS, RunOptions
from mlnb.settings import Settings, read_settings
from mlnb.store.folder import StateFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlnb.batch.table import Batch, Scored
    from mlnb.monitor.report import Report
    from mlnb.pipeline.graph import Pipeline
    from mlnb.registry.audit import Audit
    from mlnb.registry.registry import Registry
    from mlnb.registry.version import Promotion, Version
    from mlnb.run.launch import Launch
    from mlnb.run.record import RunRecord
    from mlnb.run.runs import Runs
    from mlnb.service.target import Target
    from mlnb.ship import Notify, Shipment, Yard
    from mlnb.store.ledger import Ledger
    from mlnb.tune.asked import Wish
    from mlnb.tune.trial import TrialEvent, Tuning


class Project:
    """A folder whose notebooks become pipelines, versions and services.

    Parameters
    ----------
    root : Path or str
        The project's folder; its state lies in ``.mlnb`` below.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).resolve()

    @classmethod
    def find(cls, start: Path | None = None, notebook: Path | None = None) -> Project:
        """Return the project of a notebook or folder.

        That is the nearest folder above with ``.mlnb`` or a pyproject.toml that has ``[tool.mlnb]``; else the
        notebook's own folder.

        Parameters
        ----------
        start : Path
            Where to begin, where no notebook is given; the working directory if nothing is.
        notebook : Path
            A notebook of the project.

        Raises
        ------
        UsageError
            If no notebook is given and there is no project at or above `start`.
        """
        first = notebook.resolve().parent if notebook is not None else (start or Path.cwd()).resolve()
        for folder in (first, *first.parents):
            if (folder / ".mlnb" / "format.json").is_file() or _is_project(folder / "pyproject.toml"):
                return cls(folder)
        if notebook is None:
            raise UsageError(
                f"There is no mlnb project at or above {first}.",
                "Run a notebook there first (mlnb run NOTEBOOK), or name the project: --project DIR.",
            )
        return cls(first)

    @cached_property
    def settings(self) -> Settings:
        """What ``[tool.mlnb]`` and ``MLNB_*`` say."""
        return read_settings(self.root, os.environ)

    @cached_property
    def state(self) -> StateFolder:
        """The ``.mlnb`` folder, made where it is missing."""
        return StateFolder.open(self.root, self.settings.shared_cache)

    @cached_property
    def runs(self) -> Runs:
        """What was run."""
        from mlnb.run.runs import Runs

        return Runs(self.state)

    @cached_property
    def models(self) -> Registry:
        """Versions and aliases."""
        from mlnb.registry.registry import Registry

        return Registry(self._ledger, self.state.files)

    @cached_property
    def audit(self) -> Audit:
        """Who did what."""
        from mlnb.registry.audit import Audit

        return Audit(self._ledger)

    @cached_property
    def services(self) -> Target:
        """What answers."""
        make = cast("Callable[[StateFolder, Settings], Target]", plugins.load("mlnb.targets", self.settings.target))
        return make(self.state, self.settings)

    def plan(self, notebook: Path) -> Pipeline:
        """Return the pipeline that the saved notebook makes.

        Raises
        ------
        NotebookError, PlanError
            If the file cannot be read, or its marks and code cannot become a pipeline.
        """
        from mlnb.notebook.document import read_document
        from mlnb.pipeline.build import build_pipeline

        return build_pipeline(read_document(notebook))

    def run(
        self,
        notebook: Path | None,
        assignments: Sequence[str] = (),
        file: Path | None = None,
        *,
        options: RunOptions = DEFAULTS,
        notify: Notify | None = None,
    ) -> RunRecord:
        """Run the saved notebook; a failing stage is told by the record, not raised.

        Parameters
        ----------
        notebook : Path
            The notebook; None where `options` resume a run.
        assignments : sequence of str
            Parameters as ``name=value``.
        file : Path
            Parameters from a YAML or JSON file; `assignments` win.
        options : RunOptions
            How; the default runs what has changed.
        notify : callable
            Told of each event while the run goes on.

        Raises
        ------
        NotebookError, PlanError, ParameterError
            Before anything ran.
        CancelledError
            If the user stopped it.
        """
        from mlnb.run.launch import Launch

        return self._launch(Launch(notebook, assignments, file, options), notify)

    def test(
        self,
        notebook: Path | None,
        assignments: Sequence[str] = (),
        file: Path | None = None,
        *,
        options: RunOptions = DEFAULTS,
        notify: Notify | None = None,
    ) -> RunRecord:
        """Run the notebook's tests and the stages that they need; parameters and options as in `run`."""
        from mlnb.run.launch import Launch

        return self._launch(Launch(notebook, assignments, file, options, tests=True), notify)

    def reuse(
        self,
        notebook: Path,
        assignments: Sequence[str] = (),
        file: Path | None = None,
        *,
        options: RunOptions = DEFAULTS,
        notify: Notify | None = None,
    ) -> RunRecord | None:
        """Run the saved notebook if every stage comes from the cache, else do nothing and return None.

        It starts no process and loads no library, so a live kernel can do it by itself; parameters as in `run`.
        """
        from mlnb.run.launch import Launch, refuse_early, relaunch

        asked = Launch(notebook, assignments, file, options)
        if not (self.root / ".mlnb").is_dir():
            refuse_early(asked)
        return relaunch(asked, self.state, self.settings, notify or _silent)

    def tune(
        self,
        notebook: Path,
        wish: Wish,
        assignments: Sequence[str] = (),
        file: Path | None = None,
        *,
        notify: Callable[[TrialEvent], None] | None = None,
    ) -> Tuning:
        """Search better parameters, see `mlnb.tune.launch.tune_notebook`; other parameters as in `run`."""
        from mlnb.tune.launch import tune_notebook

        return tune_notebook(notebook, wish, (assignments, file), self.state, self.settings, notify or _silent)

    def deploy(
        self,
        notebook: Path,
        name: str = "",
        assignments: Sequence[str] = (),
        file: Path | None = None,
        *,
        to: str = "",
        port: int | None = None,
        options: RunOptions = DEFAULTS,
        notify: Notify | None = None,
        reason: str = "",
        force: bool = False,
    ) -> tuple[Shipment, ...]:
        """Run the saved notebook and ship what its ``%%deploy`` cells name; does nothing where nothing changed.

        Parameters
        ----------
        name : str
            Only this model; empty for all.
        to : str
            The alias, where not the marks' own.
        port : int
            Port of the service.
        options : RunOptions
            How the notebook is run.
        reason : str
            Why, where `force` is set.
        force : bool
            Promote although a gate failed.

        Raises
        ------
        StageError
            If the run failed.
        ModelError, GateError, ServiceError
            See `mlnb.ship.ship`.
        """
        from mlnb.service.bento import builder_for
        from mlnb.ship import check_done, chosen, ship

        deploys = chosen(self.plan(notebook), name)
        if force and not reason:
            raise UsageError("Deploying by force needs a reason.", "Say why, for the audit log: --reason TEXT.")
        with builder_for(self.state) as builder:
            told = builder.following(notify or _silent)
            record = self.run(notebook, assignments, file, options=options, notify=told)
            check_done(record)
            yard = self._yard(notify)
            why = reason if force else ""
            return tuple(ship(deploy, record, yard, builder, to=to, port=port or 0, force=why) for deploy in deploys)

    def promote(self, ref: str, alias: str, *, reason: str = "", force: bool = False) -> Promotion:
        """Move an alias to a version through the gates of its mark; the running service follows.

        Raises
        ------
        RegistryError
            If there is no such version.
        GateError
            If a gate failed.
        """
        from mlnb.ship import follow, judged

        version = self.models.get(ref)
        _, verdicts = judged(version, self.audit)
        promotion = self.models.promote(version.ref, alias, by=who(), reason=reason, verdicts=verdicts, force=force)
        follow(promotion.model, self._yard(None))
        return promotion

    def rollback(self, model: str, alias: str, *, reason: str = "") -> Promotion:
        """Undo the last promotion of an alias; the running service follows."""
        from mlnb.ship import follow

        promotion = self.models.rollback(model, alias, by=who(), reason=reason)
        follow(promotion.model, self._yard(None))
        return promotion

    def evidence(self, version: Version) -> Mapping[str, float]:
        """Return everything that was measured of a version."""
        from mlnb.ship import judged

        measured, _ = judged(version, self.audit)
        return measured or version.metrics

    def monitor(
        self, model: str, *, alias: str = "production", span: str = "day", labels: Path | None = None
    ) -> Report:
        """Compare what the service was asked under an alias with what its version was made from.

        Parameters
        ----------
        span : str
            A window: ``hour``, ``day``, ``week``, ``month`` or ``500 rows``.
        labels : Path
            CSV or JSON file of true values by prediction id.

        Raises
        ------
        RegistryError
            If the alias points to nothing.
        MonitorError
            If nothing was logged, or the labels cannot be read.
        """
        from datetime import UTC, datetime

        from mlnb.monitor.watch import watch

        version = self.models.get(f"{model}@{alias}")
        return watch(version, self.state, at=datetime.now(UTC), span=span, labels=labels)

    def predict(self, ref: str, rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
        """Score rows with a version's own package, without a service.

        Parameters
        ----------
        ref : str
            ``delays/7`` or ``delays@production``.
        rows : sequence of mapping
            Raw rows, as ``/predict`` takes them.

        Returns
        -------
        dict
            ``predictions``, ``version``, and what the model has of ``probabilities`` and ``scores``.

        Raises
        ------
        SignatureError
            If rows do not fit the version's signature.
        """
        from mlnb.batch.version import predict_rows

        return predict_rows(self.models.get(ref), self.models, rows)

    def score(self, ref: str, batch: Batch, notify: Notify | None = None) -> Scored:
        """Score a table of any size with a version, here or on a Dask cluster, see `mlnb.batch.table.score_table`."""
        from mlnb.batch.version import score_version

        return score_version(self.models.get(ref), self.models, batch, self.state, self.settings, notify or _silent)

    @cached_property
    def _ledger(self) -> Ledger:
        from mlnb.store.ledger import Ledger

        return Ledger(self.state.ledger)

    def _launch(self, asked: Launch, notify: Notify | None) -> RunRecord:
        from mlnb.run.launch import launch, refuse_early

        if not (self.root / ".mlnb").is_dir():
            refuse_early(asked)
        return launch(asked, self.state, self.settings, notify or _silent)

    def _yard(self, notify: Notify | None) -> Yard:
        from mlnb.ship import Yard

        return Yard(self.state, self.settings, self.models, self.audit, self.services, who(), notify or _silent)


def who() -> str:
    """Return the name of the operating system's user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _is_project(path: Path) -> bool:
    try:
        return path.is_file() and "[tool.mlnb" in path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _silent(event: object) -> None:
    return None
