"""A candidate and the champion, asked about the same labelled rows, become the `Gains` of the one over the other.

The rows are the candidate's: those that its run has held out where the run is still known, else the part of them that
lies in its package. Should the champion have been fitted to some of them, it looks better than it is, and the gates err
to its side.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.errors import UsageError
from mlnb.model.evaluation import Evaluation
from mlnb.model.gains import Gains, paired_gains
from mlnb.registry.labelled import Labelled, packaged_rows
from mlnb.registry.labelled_run import rows_of_run
from mlnb.registry.registry import Registry
from mlnb.registry.version import Version
from mlnb.store.folder import StateFolder

if TYPE_CHECKING:
    from mlnb.model.scorer import Scorer
    from mlnb.model.signature import Signature, Values

Load = Callable[[Path], "Scorer"]
_NAMED = 8
_NO_COLUMNS = ("class", "horizon")


def gains_over(
    champion: Version, candidate: Version, registry: Registry, state: StateFolder, load: Load
) -> tuple[Gains, str]:
    """Return by how much the candidate is better than the champion, and on which rows that was measured.

    Parameters
    ----------
    champion, candidate : Version
        Of one model.
    registry : Registry
        Where the packages are.
    state : StateFolder
        Where the candidate's run may be.
    load : callable
        Loads a package folder, if what of it can execute code is of somebody trusted.

    Raises
    ------
    UsageError
        If the candidate's labels are not known, answers of its kind cannot be compared, or they answer with other
        classes or at another task.
    SignatureError
        If the champion does not take the candidate's rows.
    UntrustedError
        If one of them is not to be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="mlnb-champion-") as folder:
        packages = Path(folder) / "candidate", Path(folder) / "champion"
        for package, version in zip(packages, (candidate, champion), strict=True):
            registry.unpack(version, package)
        new, old = (load(package) for package in packages)

        check_alike((champion.ref, old.signature), (candidate.ref, new.signature))

        def rows(signature: Signature) -> Labelled:
            return labelled_rows(candidate, packages[0], signature, state)

        known, before = rows(new.signature), rows(old.signature)
        slices = sliced_by(registry.evaluations(candidate).values(), known.columns)
        first, second = old.score(before.columns), new.score(known.columns)
        return paired_gains(new.signature, known.truth, known.columns, first, second, slices=slices), known.where


def check_alike(first: tuple[str, Signature], second: tuple[str, Signature]) -> None:
    """Refuse two versions, each with its signature, whose answers mean different things.

    Raises
    ------
    UsageError
        If they do.
    """
    (one, before), (other, after) = first, second
    if before.task != after.task:
        problem = f"{other} is a {after.task} and {one} a {before.task}"
    elif before.classes != after.classes:
        problem = f"{other} tells the classes {_spelt(after.classes)} apart, {one} {_spelt(before.classes)}"
    else:
        return
    raise UsageError(
        f"{problem}, so their answers cannot be compared row by row",
        "Register what answers another question as a model of its own.",
    )


def _spelt(classes: Sequence[object]) -> str:
    return ", ".join(map(repr, classes[:_NAMED])) + (", ..." if len(classes) > _NAMED else "")


def sliced_by(evaluations: Iterable[Evaluation], columns: Mapping[str, Values]) -> tuple[str, ...]:
    """Return the columns by which a version's evaluations tell rows apart, as far as its rows have them."""
    spelt = {name.translate(str.maketrans("[]=", "()-")): name for name in columns if columns[name].ndim == 1}
    named = dict.fromkeys(part.column for one in evaluations for part in one.slices)
    return tuple(spelt[name] for name in named if name in spelt and name not in _NO_COLUMNS)


def labelled_rows(version: Version, package: Path, signature: Signature, state: StateFolder) -> Labelled:
    """Return a version's rows with known truth, as a signature reads them: its run's, or those in its package.

    Raises
    ------
    UsageError
        If there are none.
    """
    known = rows_of_run(version, state, state.files, signature) or packaged_rows(package, signature, version.ref)
    if known is None:
        raise UsageError(
            f"the truth of {version.ref}'s sample is not known",
            "Hand the labels over from a stage beside the sample: y_test for X_test.",
        )
    return known
