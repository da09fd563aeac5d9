"""The parts put together: every face, whether a terminal, a magic, a widget or the server, uses only `Project`.

Making one costs nothing; each part is made, and its libraries are loaded, when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.errors import UsageError
from mlnb.parts import Parts, silent
from mlnb.run.options import DEFAULTS, RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlnb.batch.table import Batch, Scored
    from mlnb.monitor.report import Report
    from mlnb.pending import Pending
    from mlnb.pipeline.graph import Pipeline
    from mlnb.platforms.mlflow import Mlflow
    from mlnb.registry.verification import AuditReport
    from mlnb.registry.version import Approval, Promotion, Version
    from mlnb.run.launch import Launch
    from mlnb.run.record import RunRecord
    from mlnb.service.target import Deployment
    from mlnb.ship import Notify, Shipment
    from mlnb.tune.asked import Wish
    from mlnb.tune.trial import TrialEvent, Tuning


class Project(Parts):
    """A folder whose notebooks become pipelines, versions and services.

    Parameters
    ----------
    root : Path or str
        The project's folder; its state lies in ``.mlnb`` below.
    actor : str
        Who acts, as `mlnb.identity` writes it; by default whom this process' environment names.
    """

    @property
    def mlflow(self) -> Mlflow:
        """An MLflow server: versions go there, models come from there."""
        from mlnb.platforms.mlflow import Mlflow

        return Mlflow(self.models, self.audit, self.state, self.settings, self.evidence, self.actor)

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
        return relaunch(asked, self.state, self.settings, notify or silent)

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

        return tune_notebook(notebook, wish, (assignments, file), self.state, self.settings, notify or silent)

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
        with builder_for(self.state) as builder, self.state.in_use():
            told = builder.following(notify or silent)
            record = self.run(notebook, assignments, file, options=options, notify=told)
            check_done(record)
            yard = self.yard(notify)
            why = reason if force else ""
            return tuple(ship(deploy, record, yard, builder, to=to, port=port or 0, force=why) for deploy in deploys)

    def promote(
        self, ref: str, alias: str, *, reason: str = "", force: bool = False, held: int | None = None
    ) -> Promotion:
        """Move an alias to a version through the gates of its mark and of the alias; the running service follows.

        Parameters
        ----------
        held : int
            The version that whoever decides has seen holding the alias, 0 for none; None asks for nothing.

        Raises
        ------
        RegistryError
            If there is no such version.
        GateError
            If a gate failed.
        OvertakenError
            If another version than `held` holds the alias.
        """
        from mlnb.judging.judgement import Judgement, reconsider, undisturbed

        version, by = self.models.get(ref), self.actor
        with self.effects.planned(version.model) as effects:

            def judge() -> Judgement:
                return reconsider(version, alias, by, self.bench)

            def act(found: Judgement) -> Promotion:
                return self.models.promote(
                    version.ref,
                    alias,
                    by=by,
                    reason=reason,
                    verdicts=found.verdicts,
                    force=force,
                    held=found.held if held is None else held,
                    effects=effects,
                )

            promotion = undisturbed(judge, act) if held is None else act(judge())
        self.effects.settle(promotion)
        return promotion

    def rollback(self, model: str, alias: str, *, reason: str = "", to: int = 0, held: int | None = None) -> Promotion:
        """Undo the last promotion of an alias, or go back to version `to`, which held it; the service follows.

        `held` is as in `promote`.
        """
        by = self.actor
        with self.effects.planned(model) as effects:
            promotion = self.models.rollback(model, alias, by=by, reason=reason, to=to, effects=effects, held=held)
        self.effects.settle(promotion)
        return promotion

    def operate(self, act: str, name: str, workers: int = -1) -> Deployment:
        """Start, stop or restart a service, and write it into the audit log.

        Parameters
        ----------
        act : {"start", "stop", "restart"}
            What to do.
        workers : int
            Processes of a service that is started; -1 for as many as are configured.

        Raises
        ------
        ServiceError
            If there is no such service, or it cannot be done.
        """
        services = self.services
        acts: dict[str, Callable[[], Deployment]] = {
            "start": lambda: services.start(name, workers=workers),
            "stop": lambda: services.stop(name),
            "restart": lambda: services.restart(name),
        }
        found = acts[act]()
        detail = {"url": found.url, "workers": found.workers, "bento": Path(found.bento).name}
        self.audit.record(self.actor, f"service-{act}", name, detail)
        return found

    def approve(self, ref: str, alias: str, *, reason: str = "") -> Approval:
        """Approve, as a second person, of a version for an alias.

        Raises
        ------
        PolicyError
            If the policy does not let this person.
        """
        return self.models.approve(ref, alias, by=self.actor, reason=reason)

    def pending(self, model: str, alias: str, ref: str = "") -> Pending:
        """Return what there is to decide about an alias: candidate, champion, verdicts, approvals, history.

        Parameters
        ----------
        ref : str
            The candidate; by default the newest version.

        Raises
        ------
        RegistryError
            If there is no such model or version.
        """
        from mlnb.pending import look, standing_of
        from mlnb.registry.policy import read_policy

        standing = standing_of(self.models, model, alias, ref)
        return look(self.bench, self.outbox, read_policy(self.settings.policy), self.actor, standing)

    def revision(self) -> str:
        """Return a text that is another one as soon as there is something else to decide; it costs little."""
        from mlnb.pending import revision

        return revision(self.audit, self.outbox)

    def evidence(self, version: Version) -> Mapping[str, float]:
        """Return everything that was measured of a version."""
        from mlnb.judging.judgement import judged

        measured, _ = judged(version, self.audit)
        return measured or version.metrics

    def verify(self, *, policy: bool = False) -> AuditReport:
        """Check the audit log and all that it tells of, and say who could have written it anew.

        Parameters
        ----------
        policy : bool
            Whether moves that the present policy would have refused are faults, and not only told.
        """
        from mlnb.registry.exposure import reviewed
        from mlnb.registry.policy import read_policy

        rules = read_policy(self.settings.policy)
        return reviewed(self.audit.verify(self.state.files), self.state, rules, self.audit, strict=policy)

    def monitor(
        self,
        model: str,
        *,
        alias: str = "production",
        span: str = "day",
        labels: Path | None = None,
        joint: bool = False,
    ) -> Report:
        """Compare what the service was asked under an alias with what its version was made from.

        Parameters
        ----------
        span, labels, joint : as in `mlnb.monitor.watch.watch`

        Raises
        ------
        RegistryError
            If the alias points to nothing.
        MonitorError
            If nothing was logged, or the labels cannot be read, or if there are too few rows for `joint`.
        """
        from mlnb.monitor.watch import watch
        from mlnb.registry.canonical import utc_now

        version, alarms = self.models.get(f"{model}@{alias}"), self.alarms.list(model, everything=True)
        return watch(version, self.state, at=utc_now(), span=span, labels=labels, alarms=alarms, joint=joint)

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

        return score_version(self.models.get(ref), self.models, batch, self.state, self.settings, notify or silent)

    def _launch(self, asked: Launch, notify: Notify | None) -> RunRecord:
        from mlnb.run.launch import launch, refuse_early

        if not (self.root / ".mlnb").is_dir():
            refuse_early(asked)
        return launch(asked, self.state, self.settings, notify or silent)
