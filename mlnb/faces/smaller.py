"""`models smaller` becomes a table of a version's smaller models, or the file of the one that was asked for."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from mlnb.faces.tables import table
from mlnb.faces.verb import Asked

_COLUMNS = ("model", "bytes", "ms a row", "ms 1,000 rows", "difference", "labels", "")


def smaller(asked: Asked, ref: str, take: str, out: Path | None) -> int:
    """Measure a version's smaller models; with `take` and `out` write that one."""
    from mlnb.batch.trust import load_trusted
    from mlnb.errors import ModelError, UsageError
    from mlnb.model.answers import Scores
    from mlnb.model.scorer import read_package
    from mlnb.model.smaller import compare, lines, make
    from mlnb.service.skew import read_sample
    from mlnb.store.disk import storing, write_bytes

    if bool(take) != (out is not None):
        raise UsageError("--take and --out belong together.", "Say which model to write, and where to.")
    project = asked.project()
    version = project.models.get(ref)
    with tempfile.TemporaryDirectory(prefix="mlnb-smaller-") as held:
        folder = Path(held) / "package"
        project.models.unpack(version, folder)
        if version.exporter != "onnx":
            raise ModelError(
                f"{version.ref} was exported as {version.exporter}: only ONNX models can be made smaller.",
                f"See `mlnb models show {version.ref}` for why it is not ONNX.",
                name=version.ref,
            )
        content = (folder / read_package(folder)["model_file"]).read_bytes()
        if out is not None:
            with storing(out):
                write_bytes(out, make(take, content))
            return asked.answer({"ref": version.ref, "model": take, "file": str(out)}, lambda made: [made["file"]])
        scorer = load_trusted(folder)
        columns = scorer.signature.check(read_sample(folder))
        expected = Scores.from_json(json.loads((folder / "expected.json").read_bytes()))
        found = compare(scorer, content, columns, expected, project.settings.parity_limit)
    facts = {"ref": version.ref, "candidates": [one.to_json() for one in found]}
    return asked.answer(facts, lambda _: table(_COLUMNS, lines(found)))
