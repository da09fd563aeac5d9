"""A version's sample and the truth that belongs to it become rows on which another version can be asked as well.

``truth.json``, format 1, lies in the package beside ``sample.json``: ``{"format", "labels_from", "truth": [...]}``, one
label for each of those rows, as the run gave it. It is written where the labels were known when the version was
registered (see `mlnb.registry.portrait`); it is signed with the package, so what a gate has measured on it can be
measured again. Keys are added under this number; to raise it, teach `packaged_rows` the new one and keep the old.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlnb.errors import CorruptError
from mlnb.model.export import SAMPLE_ROWS
from mlnb.store.manifest import read_json, write_json

if TYPE_CHECKING:
    from mlnb.model.signature import Signature, Values

FORMAT = 1
FILE = "truth.json"


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Rows whose truth is known.

    Attributes
    ----------
    columns : mapping of str to array, each of shape (rows, ...)
        As the signature's check gives them.
    truth : array, shape (rows,)
        Labels in the answers' own kind.
    where : str
        What they are, for sentences: ``the sample of delays/8, labels split.y_test``.
    """

    columns: Mapping[str, Values]
    truth: Values
    where: str


def write_truth(package: Path, labels: Values, labels_from: str) -> None:
    """Write the labels of the rows that ``sample.json`` holds, out of those of the whole sample."""
    count = len(labels)
    kept = range(count) if count <= SAMPLE_ROWS else [at * count // SAMPLE_ROWS for at in range(SAMPLE_ROWS)]
    values = np.asarray(labels)[list(kept)].tolist()
    write_json(package / FILE, {"format": FORMAT, "labels_from": labels_from, "truth": values})


def packaged_rows(package: Path, signature: Signature, ref: str) -> Labelled | None:
    """Return the rows of a package's sample with their truth; None where it has none.

    Parameters
    ----------
    package : Path
        The package's folder.
    signature : Signature
        By which the rows are read: the package's own, or that of a version which is asked about them as well.
    ref : str
        How people write the version, for sentences.

    Raises
    ------
    CorruptError
        If the files do not belong together.
    SignatureError
        If the rows are not what the signature takes.
    """
    if not (package / FILE).is_file():
        return None
    fields = read_json(package / FILE, FORMAT)
    sample = json.loads((package / "sample.json").read_bytes())
    taken = {column.name for column in signature.inputs}
    rows = [
        {name: value for name, value in zip(sample["columns"], row, strict=True) if name in taken}
        for row in sample["data"]
    ]
    truth = fields.mapping.get("truth")
    if not isinstance(truth, list) or len(truth) != len(rows):
        raise CorruptError(
            f"{package / FILE} has other rows than sample.json.", "Deploy the model again.", path=FILE, digest=""
        )
    where = f"the sample of {ref}, labels {fields.text('labels_from')}"
    return Labelled(signature.check(rows), np.asarray(truth), where)
