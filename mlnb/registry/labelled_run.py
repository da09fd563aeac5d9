"""The run that a version is from becomes rows whose truth is known: all of its sample, where the package holds a part.

The sample and the labels are those that were used when the version was registered, as `mlnb.registry.portrait` found
them; their bytes are in the project's store as long as the run is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlnb.errors import MlnbError
from mlnb.registry.card import importance_of
from mlnb.registry.card_words import facts_of
from mlnb.registry.labelled import Labelled
from mlnb.registry.portrait import aligned
from mlnb.run.history import read_run
from mlnb.run.values import artifact_of
from mlnb.store.codec import decode

if TYPE_CHECKING:
    from mlnb.model.signature import Signature
    from mlnb.registry.version import Version
    from mlnb.run.record import RunRecord
    from mlnb.store.files import FileStore
    from mlnb.store.folder import StateFolder

MOST_ROWS = 10_000
"""So many rows, spread evenly, give intervals in seconds; more would hardly narrow them."""


def rows_of_run(
    version: Version, state: StateFolder, store: FileStore, signature: Signature, most: int = MOST_ROWS
) -> Labelled | None:
    """Return the labelled rows of a version's run; None where the run, its values or the labels are not known any more.

    Parameters
    ----------
    version : Version
        Whose rows they are.
    state : StateFolder
        The project's state, with the run.
    store : FileStore
        Where the version's package is.
    signature : Signature
        By which the rows are read: of this version or of one that is asked about them as well.
    most : int
        At most so many rows, spread evenly over the sample.

    Raises
    ------
    SignatureError
        If the rows are not what the signature takes.
    """
    from mlnb.model.inference import as_frame, checked_columns

    found = _values(version, state, store)
    if found is None:
        return None
    sample, labels, labels_from = found
    known = aligned(labels, sample)
    if known is None:
        return None
    name = facts_of(version, store).sample
    frame = as_frame(sample, name)
    _check_there(signature, [str(column) for column in frame.columns], version.ref)
    kept = np.arange(min(len(frame), most)) * len(frame) // min(len(frame), most)
    columns = checked_columns(frame.iloc[kept].reset_index(drop=True), signature.inputs)
    share = f", {len(kept):,} of its {len(frame):,} rows" if len(kept) < len(frame) else ""
    return Labelled(columns, known[kept], f"{name} of {version.ref}{share}, labels {labels_from}")


def _values(version: Version, state: StateFolder, store: FileStore) -> tuple[object, object, str] | None:
    try:
        record = read_run(state, version.lineage.run)
        importance, facts = importance_of(version, store), facts_of(version, store)
        if importance is None or not importance.labels or not facts.sample:
            return None
        return _of(facts.sample, record, state), _of(importance.labels, record, state), importance.labels
    except (MlnbError, OSError):  # gone, or not ours to load: the package's own rows remain
        return None


def _of(spelt: str, record: RunRecord, state: StateFolder) -> object:
    stage, _, variable = spelt.rpartition(".")
    return decode(artifact_of(record, variable, stage), state.files)


def _check_there(signature: Signature, columns: list[str], ref: str) -> None:
    from mlnb.errors import SignatureError

    missing = [column.name for column in signature.inputs if column.name not in columns]
    if missing:
        raise SignatureError(
            f"The rows of {ref} have no column {missing[0]!r}.", "Compare versions that take the same columns."
        )
