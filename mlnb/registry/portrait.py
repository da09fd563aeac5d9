"""A finished run and its package become the version's portrait: ``card.json``, ``importance.json``, ``truth.json``.

Labels are looked for among the run's own variables: the sample's name with ``y`` for ``X``, then the names that people
give to them. They count only if they belong to the sample's rows (by index, or by number where there is none) and the
model scores clearly better on them than on shuffled ones.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlnb.errors import ModelError
from mlnb.model.card_facts import FILE as CARD
from mlnb.model.card_facts import CardFacts
from mlnb.model.card_words import Words, sensitive_columns
from mlnb.model.column_summary import summarise_columns
from mlnb.model.fairness import HOW_TO_GET, Fairness, installed, measure_fairness
from mlnb.model.importance import FILE as IMPORTANCE
from mlnb.model.importance import labels_fit, measure_importance
from mlnb.registry.card_words import written_words
from mlnb.registry.labelled import write_truth
from mlnb.store.codec import decode
from mlnb.store.manifest import write_json

if TYPE_CHECKING:
    from mlnb.model.scorer import Scorer
    from mlnb.model.signature import Values
    from mlnb.pipeline.graph import Deploy, Input
    from mlnb.run.record import RunRecord
    from mlnb.store.artifact import Artifact
    from mlnb.store.files import FileStore
    from mlnb.store.folder import StateFolder

_LABELS = ("y", "y_test", "y_valid", "y_val", "y_true", "labels", "target", "targets", "truth")
_LARGEST_BYTES = 200_000_000
_LONGEST_REPR = 4_000
_ADDRESS = re.compile(r"<(?:[\w.]+\.)?(\w+) object at 0x[0-9a-f]+>")
"""How Python writes an object whose class says nothing of it: its address differs each time."""


@dataclass(frozen=True, slots=True)
class Sitter:
    """What is portrayed.

    Attributes
    ----------
    estimator : object
        As the stage gave it.
    sample : object
        The rows as the stage gave them.
    scorer : Scorer
        The package, loaded.
    columns : mapping of str to array
        The sample, checked.
    """

    estimator: object
    sample: object
    scorer: Scorer
    columns: Mapping[str, Values]


def portray(package: Path, sitter: Sitter, deploy: Deploy, record: RunRecord, state: StateFolder) -> Values | None:
    """Write ``card.json`` and, where the answers are numbers, ``importance.json`` into the package.

    Returns
    -------
    sequence, shape (rows,), or None
        The sample's labels, where the run gave them.
    """
    store, notes = state.files, list[str]()
    labels, labels_from = _labels(sitter, deploy, record, store)
    if labels is not None:
        write_truth(package, labels, labels_from)
    try:
        importance = measure_importance(sitter.scorer, sitter.columns, labels, labels_from=labels_from)
        write_json(package / IMPORTANCE, importance.to_json())
    except ModelError as error:
        notes.append(f"The importance of the columns is not known: {error.problem}")
    words = written_words(deploy.name, record, state)
    fairness = list(_fairness(sitter, words, (labels, labels_from), record, store, notes))
    rows = len(next(iter(sitter.columns.values())))
    facts = CardFacts(
        model=_spelt(deploy.model),
        sample=_spelt(deploy.sample),
        estimator=_told(sitter.estimator),
        licence=project_licence(state.project),
        rows=rows,
        columns=summarise_columns(sitter.scorer.signature.inputs, sitter.columns),
        words=words,
        fairness=tuple(fairness),
        notes=tuple(notes),
    )
    write_json(package / CARD, facts.to_json())
    return labels


def project_licence(folder: Path) -> str:
    """Return the licence that the project's pyproject.toml states; empty for none."""
    path = folder / "pyproject.toml"
    table = tomllib.loads(path.read_text("utf-8")).get("project", {}) if path.is_file() else {}
    stated = table.get("license", "") if isinstance(table, dict) else ""
    if isinstance(stated, dict):
        stated = stated.get("text") or stated.get("file") or ""
    return str(stated).strip().partition("\n")[0]


def _labels(sitter: Sitter, deploy: Deploy, record: RunRecord, store: FileStore) -> tuple[Values | None, str]:
    """Return the sample's labels and where they come from."""
    name = deploy.sample.name
    names = [*(["y" + name[1:]] if name[0] in "Xx" else []), *_LABELS]
    wanted: dict[str, tuple[Values, str] | None] = dict.fromkeys(names)
    for giver, artifact in _found(record, store):
        if artifact.name not in wanted or wanted[artifact.name]:
            continue
        found = aligned(decode(artifact, store), sitter.sample)
        if found is not None and labels_fit(sitter.scorer, sitter.columns, found):
            wanted[artifact.name] = (found, f"{giver}.{artifact.name}")
    return next((one for one in wanted.values() if one is not None), (None, ""))


def _fairness(
    sitter: Sitter,
    words: tuple[Words, ...],
    labels: tuple[Values | None, str],
    record: RunRecord,
    store: FileStore,
    notes: list[str],
) -> Iterator[Fairness]:
    """Yield the comparison of each sensitive column; what cannot be compared is told in `notes`."""
    named = sensitive_columns(words)
    signature = sitter.scorer.signature
    task = signature.task
    if named and len(signature.classes) == 2 and not installed():
        notes.append(HOW_TO_GET)
    if named and task not in ("classifier", "regressor"):
        notes.append(f"Groups are compared by the answers of classifiers and regressors; this is a {task}.")
        return
    scores = sitter.scorer.score(sitter.columns) if named else None
    for column in named:
        values = _sensitive(column, sitter, record, store)
        if values is None or scores is None:
            notes.append(
                f"The sensitive column {column!r} is neither in the sample nor in a frame or variable of the run whose "
                "rows are the sample's: hand one over from a stage."
            )
            continue
        yield measure_fairness(signature, scores, column, values, *labels)


def _sensitive(column: str, sitter: Sitter, record: RunRecord, store: FileStore) -> Values | None:
    if column in sitter.columns:
        return sitter.columns[column]
    for _, artifact in _found(record, store):
        framed = artifact.type_name.endswith("DataFrame")
        if artifact.name != column and not framed:
            continue
        value: Any = decode(artifact, store)
        if framed:
            value = value[column] if column in getattr(value, "columns", ()) else None
        found = None if value is None else aligned(value, sitter.sample)
        if found is not None:
            return found
    return None


def _found(record: RunRecord, store: FileStore) -> Iterator[tuple[str, Artifact]]:
    """Yield what the run's stages gave, the latest first, as far as it is there and not huge."""
    for stage in reversed(record.stages):
        for artifact in stage.artifacts:
            if artifact.size_bytes <= _LARGEST_BYTES and store.has(artifact.digest, artifact.size_bytes):
                yield stage.name, artifact


def aligned(value: Any, sample: Any) -> Values | None:
    """Return one value for each row of the sample, None where the rows are others."""
    index: Any = getattr(value, "index", None)
    wanted: Any = getattr(sample, "index", None)
    if hasattr(index, "is_unique") and hasattr(wanted, "is_unique"):
        if not index.equals(wanted):
            if not (index.is_unique and wanted.isin(index).all()):
                return None
            value = value.loc[wanted]
    elif isinstance(value, str | Mapping) or not hasattr(value, "__len__") or len(value) != len(sample):
        return None
    found = np.asarray(value)
    return found if found.ndim == 1 and len(found) == len(sample) else None


def _spelt(given: Input) -> str:
    return f"{given.giver}.{given.name}"


def _told(estimator: object) -> str:
    text = _ADDRESS.sub(r"\1", repr(estimator))
    return text if len(text) <= _LONGEST_REPR else f"{text[:_LONGEST_REPR]} ..."
