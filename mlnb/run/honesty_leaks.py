"""What estimators did in the stages of a run becomes findings: shared rows, targets as features, early transformers.

Pure: it compares digests. Rows are followed through transformations, and columns of a frame by their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlnb.run.honesty_finding import Finding, fitted_before_split, found_at, rows
from mlnb.run.honesty_notes import Note
from mlnb.run.honesty_rows import Digests, Shared, mixed, same_rows, shared

_VOCABULARIES = frozenset(
    {"LabelEncoder", "LabelBinarizer", "MultiLabelBinarizer", "OneHotEncoder", "OrdinalEncoder", "FunctionTransformer"}
)
"""Transformers that learn which categories there are, and nothing about their distribution."""
_STEPS = 6


@dataclass(frozen=True, slots=True)
class Noted:
    """A note with its place in the notebook, and the arrays that it names."""

    note: Note
    stage: str
    cell: int
    line: int
    arrays: Mapping[str, Digests]

    @property
    def rows(self) -> Digests:
        """Digests of the rows that were given."""
        return self.arrays[self.note.rows]

    @property
    def place(self) -> str:
        """``stage 'train', cell 4, line 2``."""
        where = f", cell {self.cell}, line {self.line}" if self.cell else ""
        return f"stage {self.stage!r}{where}"


def leaks(noted: Sequence[Noted]) -> tuple[Finding, ...]:
    """Return what is wrong with what was fitted and scored, in the order of the notebook."""
    fits = [one for one in noted if one.note.act == "fit"]
    scores = [one for one in noted if one.note.act == "score"]
    found = [*_shared_rows(fits, scores), *_targets(fits), *_fitted_before_split(noted, fits, scores)]
    return tuple(sorted(found, key=lambda finding: (finding.cell, finding.line)))


# rows that were fitted and scored


def _shared_rows(fits: Sequence[Noted], scores: Sequence[Noted]) -> Iterator[Finding]:
    supervised = [fit for fit in fits if fit.note.supervised and fit.note.predicts]
    worst: dict[tuple[str, int, int, int, int], tuple[Noted, Noted, Shared]] = {}
    on_training: dict[str, tuple[Noted, Noted]] = {}
    honest: set[str] = set()
    for score in scores:
        own = [fit for fit in supervised if fit.note.token == score.note.token]
        if not own:
            continue
        fitted = np.concatenate([fit.rows for fit in own])
        fit, found = own[-1], shared(fitted, score.rows)
        if same_rows(fitted, score.rows):
            on_training.setdefault(score.note.estimator, (fit, score))
            continue
        honest.add(score.note.estimator)
        key = (score.note.estimator, fit.cell, fit.line, score.cell, score.line)
        if found.beyond_chance and (key not in worst or found.share > worst[key][2].share):
            worst[key] = (fit, score, found)
    yield from (_overlap(*each) for each in worst.values())
    yield from (_training_only(*each) for name, each in on_training.items() if name not in honest)


def _overlap(fit: Noted, score: Noted, found: Shared) -> Finding:
    return found_at(
        score,
        "shared rows",
        problem=(
            f"{rows(found.rows)} of {found.scored:,} ({found.share:.1%}) on which {score.note.estimator} is scored in "
            f"{score.place} are among those it was fitted on in {fit.place}; equal rows in the data itself explain "
            f"{found.expected:.1f}."
        ),
        remedy="Split before anything is repeated or sampled, and drop duplicates or keep each group on one side.",
        amount=found.share,
    )


def _training_only(fit: Noted, score: Noted) -> Finding:
    return found_at(
        score,
        "shared rows",
        problem=(
            f"{score.note.estimator} is scored in {score.place} on nothing but the {rows(len(score.rows))} that it was "
            f"fitted on in {fit.place}."
        ),
        remedy="Score it on rows that were held out (train_test_split), or by cross-validation.",
        amount=1.0,
    )


# a target among the features


def _targets(fits: Sequence[Noted]) -> Iterator[Finding]:
    seen: set[tuple[str, int]] = set()
    for fit in fits:
        for suspect in fit.note.suspects:
            if (suspect.column, fit.cell) not in seen:
                seen.add((suspect.column, fit.cell))
                name = suspect.column if suspect.column.startswith("column ") else f"The column {suspect.column!r}"
                yield found_at(
                    fit,
                    "target among features",
                    problem=(
                        f"{name[0].upper()}{name[1:]} of what {fit.note.estimator} is fitted on in {fit.place} "
                        f"{suspect.how} the target."
                    ),
                    remedy="Leave it out, unless it is truly known when a prediction is asked for.",
                    amount=suspect.strength,
                )


# transformers fitted before the split


def _fitted_before_split(noted: Sequence[Noted], fits: Sequence[Noted], scores: Sequence[Noted]) -> Iterator[Finding]:
    steps = [one for one in noted if one.note.act == "transform" and _is_step(one)]
    learned = {one.note.token: one for one in fits if one.note.learned and one.note.estimator not in _VOCABULARIES}
    steps = [step for step in steps if step.note.token in learned]
    told: set[tuple[str, int, int]] = set()
    for score in scores:
        own = [fit.rows for fit in fits if fit.note.token == score.note.token and fit.note.supervised]
        if not own or same_rows(np.concatenate(own), score.rows):
            continue
        for step, found in _seen_before(score, steps, learned):
            fit = learned[step.note.token]
            key = (fit.note.estimator, fit.cell, fit.line)
            if found.beyond_chance and key not in told:
                told.add(key)
                yield _too_early(fit, score, found)


def _is_step(one: Noted) -> bool:
    return bool(one.note.out) and len(one.arrays[one.note.out]) == len(one.rows)


def _seen_before(score: Noted, steps: Sequence[Noted], learned: Mapping[str, Noted]) -> Iterator[tuple[Noted, Shared]]:
    """Follow scored rows back through transformations; yield each with how many of its inputs it was fitted on."""
    reached = [score.rows]
    for _ in range(_STEPS):
        before: list[Digests] = []
        for step in steps:
            out = step.arrays[step.note.out]
            for now in (*reached, *_part(score, step)):
                inputs = _behind(now, out, step.rows)
                if len(inputs):
                    before.append(inputs)
                    found = shared(learned[step.note.token].rows, inputs)
                    yield step, replace(found, scored=len(score.rows))
        reached = before
        if not reached:
            return


def _part(score: Noted, step: Noted) -> tuple[Digests, ...]:
    """Return the scored rows in the columns that a transformation was given: ``df[cols] = scaler.transform(...)``."""
    names, columns = score.note.names, score.note.columns
    if not columns or not step.note.names or not set(step.note.names) < set(names):
        return ()
    cells = score.arrays[columns]
    chosen = [np.ascontiguousarray(cells[:, names.index(name)]) for name in step.note.names]
    return (mixed(chosen, len(cells)),)


def _behind(now: Digests, out: Digests, given: Digests) -> Digests:
    """Return the inputs of a transformation whose outputs are among `now`, one for each row of `now` that is."""
    order = np.argsort(out, kind="stable")
    places = np.searchsorted(out, now, sorter=order)
    places = order[np.minimum(places, len(out) - 1)]
    inputs: Digests = given[places[out[places] == now]]
    return inputs


def _too_early(fit: Noted, score: Noted, found: Shared) -> Finding:
    return fitted_before_split(
        fit,
        (
            f"{fit.note.estimator} was fitted in {fit.place} on {rows(len(fit.rows))}, {found.rows:,} of which are "
            f"scored by {score.note.estimator} in {score.place} ({found.share:.0%} of the {found.scored:,} scored "
            "rows): it has seen what it should be tested on."
        ),
        found.share,
    )
