"""A registered version scores rows that a person typed, or a table of any size, without a service."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.batch.trust import load_trusted
from mlnb.errors import UsageError
from mlnb.registry.registry import Registry
from mlnb.registry.version import Version
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

if TYPE_CHECKING:
    from mlnb.batch.table import Batch, Scored


def predict_rows(version: Version, registry: Registry, rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Return the answers to a few rows in the words of ``/predict``, without ids.

    Raises
    ------
    SignatureError
        If rows do not fit the version's signature.
    UntrustedError
        If the package can execute code, and nobody whom this user trusts has signed it.
    """
    with _unpacked(version, registry) as package:
        scorer = load_trusted(package)
        scores = scorer.score(scorer.signature.check([dict(row) for row in rows]))
    told = {"predictions": scores.predictions, "probabilities": scores.probabilities, "scores": scores.scores}
    answer: dict[str, object] = {name: values for name, values in told.items() if values is not None}
    return answer | {"version": version.ref}


def score_version(
    version: Version,
    registry: Registry,
    batch: Batch,
    state: StateFolder,
    settings: Settings,
    notify: Callable[[object], None],
) -> Scored:
    """Score a table, here or on the workers of a Dask cluster; see `mlnb.batch.table.score_table`.

    Raises
    ------
    UsageError
        If the executor is none that can score tables.
    """
    scheme = batch.executor.partition("://")[0]
    if scheme not in {"", "local", "dask"}:
        raise UsageError(f"Tables cannot be scored on {batch.executor!r}.", "Use --executor local or dask://HOST:PORT.")
    if scheme == "dask":
        from mlnb.batch.cluster import score_on_cluster

        return score_on_cluster(version, batch, state, settings, notify)
    from mlnb.batch.table import score_table

    with _unpacked(version, registry) as package:
        return score_table(package, version.ref, batch, notify)


@contextmanager
def _unpacked(version: Version, registry: Registry) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mlnb-predict-") as folder:
        package = Path(folder) / "package"
        registry.unpack(version, package)
        yield package
