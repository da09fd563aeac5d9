"""An estimator, a sample and fresh rows become a row of a table on fidelity; for processes of other environments.

The columns are those of `tests.bench.fidelity`.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from mlnb.errors import MlnbError
from mlnb.model.answers import as_estimator
from mlnb.model.edges import joined
from mlnb.model.export import export_model
from mlnb.model.inference import as_frame, checked_columns
from mlnb.model.parity import measure_part
from mlnb.model.scorer import EstimatorRuntime, load_scorer

COLUMNS = ("case", "exporter", "sample", "edges", "fresh", "flips", "ties", "bytes", "ms/row", "repairs")
_LIMIT = 1e-4
_CHUNK = 10_000
_CALLS = 50


def told(name: str, estimator: Any, sample: Any, fresh: Any) -> dict[str, object]:
    """Export, compare, and return ``exporter``, ``passed`` and the cells of the ``row``."""
    estimator = as_estimator(estimator)
    with warnings.catch_warnings(action="ignore"), tempfile.TemporaryDirectory(prefix="mlnb-exported-") as folder:
        package = Path(folder) / "package"
        try:
            export = export_model(
                estimator, sample, package, model="bench", parity_limit=_LIMIT, sign=lambda _: ("", "")
            )
        except MlnbError as error:
            return {"exporter": "", "passed": False, "row": [name, "none", *[""] * 7, error.problem[:100]]}
        scorer = load_scorer(package, allow_code=lambda *_: True)
        own = EstimatorRuntime(estimator, scorer.signature)
        expected, got = [], []
        for start in range(0, len(fresh), _CHUNK):
            rows = as_frame(fresh[start : start + _CHUNK], "fresh")
            columns = checked_columns(rows, scorer.signature.inputs)
            expected.append(own.score(columns))
            got.append(scorer.score(columns))
        part = measure_part("fresh", joined(expected), joined(got), scorer.signature.task, _LIMIT)
        one = checked_columns(as_frame(sample[:1], "row"), scorer.signature.inputs)
        took = []
        for _ in range(_CALLS):
            before = time.perf_counter()
            scorer.score(one)
            took.append(time.perf_counter() - before)
        size = sum(path.stat().st_size for path in package.glob("model.*"))
    judged = [one for one in export.parity.parts if one.judged]
    parts = [export.parity, part, *judged]
    row = [
        name,
        export.exporter,
        f"{export.parity.max_abs:.0e}",
        f"{max((one.max_abs for one in judged), default=0.0):.0e}",
        f"{part.max_abs:.0e}",
        str(sum(one.flips for one in parts)),
        str(sum(one.ties for one in parts)),
        f"{size:,}",
        f"{sorted(took)[_CALLS // 2] * 1000:.3f}",
        export.choice.how[:80],
    ]
    return {"exporter": export.exporter, "passed": export.parity.passed and part.passed, "row": row}
