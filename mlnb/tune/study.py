"""A space and an objective become trials of one pipeline, chosen by Optuna, and the best of them.

A study lies in ``.mlnb/tuning/<name>.log``, Optuna's journal, which several processes may append to. Its name is made
of the notebook, the searched space, the objective, the other parameters and the code: the same command goes on with it,
other code begins another study. Trials are ordinary runs: only what depends on a searched parameter runs again.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

from mlnb.errors import CancelledError, MlnbError, PluginError, UsageError
from mlnb.pipeline.graph import Json
from mlnb.run import intermediate
from mlnb.run.events import RunStarted
from mlnb.run.record import RunRecord
from mlnb.run.values import every_number
from mlnb.store.disk import make_folder
from mlnb.store.folder import StateFolder
from mlnb.store.process import alive, this_process
from mlnb.tune.search import Search
from mlnb.tune.space import Axis
from mlnb.tune.trial import Trial, TrialEvent, Tuning

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise PluginError(
            f"Tuning needs Optuna, which cannot be imported: {error}.",
            "Install it: pip install 'mlnb[tune]'.",
            group="mlnb.tune",
            plugin="optuna",
        ) from error

RunTrial: TypeAlias = "Callable[[Mapping[str, Json], Callable[[object], None]], RunRecord]"
"""Runs the pipeline with these values, tells its events, and returns its record."""
_POLL_S = 0.02
_MOST_FAILURES_AT_FIRST = 3


def tune(
    search: Search,
    run: RunTrial,
    state: StateFolder,
    notify: Callable[[TrialEvent], None],
    cancel: Callable[[], None],
) -> Tuning:
    """Run trials until the study has as many as are asked for.

    Parameters
    ----------
    run : callable
        Runs the pipeline with the values of one trial; several threads call it where the search has several jobs.
    notify : callable
        Is told every trial.
    cancel : callable
        Ends what is running.

    Raises
    ------
    UsageError
        If the pipeline gives no number of the objective's name.
    CancelledError
        If the user stopped it; what was done is kept and the same command goes on from there.
    StorageError
        If the journal cannot be written.
    """
    return _Study(search, run, state, notify, cancel).execute()


class _Study:
    """One session of a study."""

    def __init__(
        self,
        search: Search,
        run: RunTrial,
        state: StateFolder,
        notify: Callable[[TrialEvent], None],
        cancel: Callable[[], None],
    ) -> None:
        self._cancel = cancel
        self._search = search
        self._run = run
        self._state = state
        self._notify = notify
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._refusal: MlnbError | None = None
        with _quiet():
            self._study = self._opened()

    def execute(self) -> Tuning:
        """Run what is missing, and say what the study knows."""
        with _quiet():
            self._take_up_lost()
            missing = self._search.trials - len(self._ended())
            try:
                if missing > 0:
                    self._study.optimize(
                        self._objective,
                        n_trials=missing,
                        n_jobs=self._search.jobs,
                        timeout=self._search.timeout_s or None,
                        catch=(_FailedTrialError,),
                    )
            except KeyboardInterrupt:
                self._stop.set()
                self._cancel()
                self._refusal = CancelledError(
                    f"The study {self._search.name} was stopped after {len(self._ended())} trials.",
                    "Repeat the command: it goes on from there.",
                    run="",
                )
            if self._refusal is not None:
                raise self._refusal
            return self._tuning()

    def _opened(self) -> optuna.Study:
        folder = make_folder(self._state.root / "tuning")
        storage = JournalStorage(JournalFileBackend(str(folder / f"{self._search.name}.log")))
        return optuna.create_study(
            storage=storage,
            study_name=self._search.name,
            direction=self._search.direction,
            load_if_exists=True,
            pruner=_pruner(self._search.pruner),
        )

    def _take_up_lost(self) -> None:
        """Try again what a session that is no more had begun, and choose the sampler for what is to come."""
        states = optuna.trial.TrialState
        for trial in self._study.get_trials(deepcopy=False, states=(states.RUNNING, states.FAIL)):
            ended = trial.state == states.FAIL
            stopped = (
                ended and "message" not in trial.user_attrs and f"lost-{trial.number}" not in self._study.user_attrs
            )
            if stopped or not (ended or alive(str(trial.user_attrs.get("process", "/0/0")))):
                self._study.tell(trial.number, state=states.FAIL, skip_if_finished=True)
                self._study.set_user_attr(f"lost-{trial.number}", True)
                if trial.params:
                    self._study.enqueue_trial(trial.params)
        self._study.sampler = _sampler(self._search, len(self._study.trials))

    def _ended(self) -> list[Trial]:
        lost = {name for name in self._study.user_attrs if name.startswith("lost-")}
        return [
            trial
            for trial in map(_trial, self._study.get_trials(deepcopy=False))
            if trial.state in ("done", "pruned", "failed") and f"lost-{trial.number}" not in lost
        ]

    def _objective(self, trial: optuna.Trial) -> float:
        if self._stop.is_set():
            raise _FailedTrialError
        values = {axis.name: _suggested(trial, axis) for axis in self._search.space}
        trial.set_user_attr("process", this_process())
        shown = Trial(trial.number, "running", values)
        begun = time.monotonic()
        self._tell("started", shown)
        with _Listener(self, trial, shown) as listener:
            try:
                record = self._run(values, listener.heard)
            except MlnbError as error:
                if not self._stop.is_set():
                    self._refuse(error)
                raise _FailedTrialError from error
        trial.set_user_attr("run", record.id)
        shown = replace(shown, run=record.id, seconds=round(time.monotonic() - begun, 3))
        trial.set_user_attr("seconds", shown.seconds)
        return self._judged(trial, shown, record, listener)

    def _judged(self, trial: optuna.Trial, shown: Trial, record: RunRecord, listener: _Listener) -> float:
        fault = next((stage.error for stage in record.stages if stage.error is not None), None)
        if fault is not None and fault.ename == "PrunedError":
            self._tell("finished", replace(shown, state="pruned", score=listener.last))
            raise optuna.TrialPruned
        message = fault.problem if fault else "" if record.state == "done" else f"The run ended {record.state}."
        if not message:
            given = every_number(record, self._state.files)
            if self._search.objective not in given:
                self._refuse(_no_such_number(self._search.objective, given))
                raise _FailedTrialError
            score = given[self._search.objective]
            if math.isfinite(score):
                self._tell("finished", replace(shown, state="done", score=score), also=score)
                return score
            message = f"{self._search.objective} is {score}."
        trial.set_user_attr("message", message)
        self._tell("finished", replace(shown, state="failed", message=message))
        self._give_up_if_all_fail(message)
        raise _FailedTrialError

    def _give_up_if_all_fail(self, message: str) -> None:
        ended = self._ended()
        if len(ended) + 1 >= _MOST_FAILURES_AT_FIRST and all(one.state == "failed" for one in ended):
            self._refuse(UsageError(f"No trial of {self._search.name} succeeded: {message}", "Repair it and repeat."))

    def _refuse(self, error: MlnbError) -> None:
        """End the study with this error."""
        with self._lock:
            self._refusal = self._refusal or error
        self._stop.set()
        self._study.stop()

    def _tell(self, happened: str, trial: Trial, *, step: int = -1, also: float | None = None) -> None:
        scores = [one.score for one in self._ended() if one.state == "done" and one.score is not None]
        scores += [also] if also is not None else []
        best = (max if self._search.direction == "maximize" else min)(scores, default=None)
        done = len(self._ended()) + (happened == "finished")
        with self._lock:
            self._notify(TrialEvent(happened, trial, done, self._search.trials, best, step))

    def _tuning(self) -> Tuning:
        trials = tuple(self._ended())
        scored = [trial for trial in trials if trial.state == "done" and trial.score is not None]
        sign = -1 if self._search.direction == "maximize" else 1
        best = min(scored, key=lambda trial: (sign * (trial.score or 0.0), trial.number), default=None)
        return Tuning(
            self._search.name, self._search.objective, self._search.direction, trials, best, self._importance(scored)
        )

    def _importance(self, scored: Sequence[Trial]) -> Mapping[str, float]:
        """Return each parameter's share by fANOVA, nothing where the trials are too few or all alike."""
        if len(scored) < 4 or len({trial.score for trial in scored}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._search.seed)
        found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {name: round(float(share), 4) for name, share in found.items()}


class _FailedTrialError(Exception):
    """Tells Optuna that a trial failed."""


class _Listener:
    """Hears the run of one trial: learns its folder, and answers the reports of its kernels while it goes on."""

    def __init__(self, study: _Study, trial: optuna.Trial, shown: Trial) -> None:
        self._study = study
        self._trial = trial
        self._shown = shown
        self._folder: Path | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self.last: float | None = None

    def __enter__(self) -> _Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def heard(self, event: object) -> None:
        """Make the folder in which kernels report, as soon as the run has one; stop the run when the study stops."""
        if self._study._stop.is_set():
            raise KeyboardInterrupt
        if isinstance(event, RunStarted):
            folder = self._study._state.runs / event.run
            make_folder(folder / intermediate.FOLDER)
            self._folder = folder

    def _listen(self) -> None:
        while not self._ended.wait(_POLL_S):
            if self._folder is not None:
                for step, score in intermediate.answer(self._folder, self._hopeless):
                    self._study._tell("reported", replace(self._shown, score=score), step=step)

    def _hopeless(self, step: int, score: float) -> bool:
        if not math.isfinite(score):
            return True
        self.last = score
        self._trial.report(score, step)
        return bool(self._trial.should_prune())


def _suggested(trial: optuna.Trial, axis: Axis) -> Json:
    if axis.kind == "choice":
        chosen: Json = json.loads(trial.suggest_categorical(axis.name, axis.choices))
        return chosen
    if axis.whole:
        step = int(axis.step) or 1
        return trial.suggest_int(axis.name, int(axis.low), int(axis.high), step=step, log=axis.kind == "log")
    return trial.suggest_float(axis.name, axis.low, axis.high, step=axis.step or None, log=axis.kind == "log")


def _sampler(search: Search, before: int) -> optuna.samplers.BaseSampler:
    seed = search.seed + before  # a session that goes on must not repeat the first one's draws
    if search.sampler == "grid":
        endless = [axis.name for axis in search.space if not math.isfinite(axis.size)]
        if endless:
            raise UsageError(
                f"A grid has no end over `{endless[0]}`.",
                "Give it a step, as in uniform(0,1,0.1), or list its values; or take --sampler tpe.",
            )
        return optuna.samplers.BruteForceSampler(seed=seed)
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=len(search.space) > 1)


def _pruner(name: str) -> optuna.pruners.BasePruner:
    if name == "none":
        return optuna.pruners.NopPruner()
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=4)


def _trial(frozen: optuna.trial.FrozenTrial) -> Trial:
    states = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}
    last = frozen.intermediate_values[max(frozen.intermediate_values)] if frozen.intermediate_values else None
    return Trial(
        number=frozen.number,
        state=states.get(frozen.state.name, "running"),
        values={name: _plain(frozen, name) for name in frozen.params},
        score=frozen.value if frozen.state.name == "COMPLETE" else last,
        seconds=float(frozen.user_attrs.get("seconds", 0.0)),
        run=str(frozen.user_attrs.get("run", "")),
        message=str(frozen.user_attrs.get("message", "")),
    )


def _plain(frozen: optuna.trial.FrozenTrial, name: str) -> Json:
    value: Json = frozen.params[name]
    choice = isinstance(frozen.distributions[name], optuna.distributions.CategoricalDistribution)
    return json.loads(str(value)) if choice else value


def _no_such_number(name: str, given: Mapping[str, float]) -> UsageError:
    close = get_close_matches(name, given, n=1)
    known = ", ".join(sorted(given)) or "no numbers: name one with --metrics"
    hint = f"Did you mean {close[0]!r}?" if close else f"It gives: {known}."
    return UsageError(f"The pipeline gives no number {name!r} to search by.", hint)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's own log lines and experimental warnings from people who see ours."""
    log = logging.getLogger("optuna")
    level = log.level
    log.setLevel(logging.ERROR + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
