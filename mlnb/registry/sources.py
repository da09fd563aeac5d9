"""A version's kept notebook and modules become its code: lines by stage, setup, parameters and module."""

from __future__ import annotations

from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mlnb.errors import MlnbError
from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.run.difference import sources_of
from mlnb.run.notebooks import source_path

if TYPE_CHECKING:
    from mlnb.registry.version import Version
    from mlnb.store.files import FileStore
    from mlnb.store.folder import StateFolder


def sources_of_version(version: Version, state: StateFolder, store: FileStore) -> dict[str, list[str]]:
    """Return the lines of a version's code by the stage or module that holds them; empty where it is not kept."""
    lineage = version.lineage
    try:
        content = store.read(lineage.notebook_source) if lineage.notebook_source else _of_run(version, state)
        with TemporaryDirectory(prefix="mlnb-source-") as folder:
            copy = Path(folder) / PurePath(lineage.notebook).name
            copy.write_bytes(content)
            found = {name: list(lines) for name, lines in sources_of(build_pipeline(read_document(copy))).items()}
        for path, digest in lineage.modules:
            if digest:
                found[path] = store.read(digest).decode("utf-8", "replace").split("\n")
    except (MlnbError, OSError):  # gone, or of an mlnb that could plan it
        return {}
    return found


def _of_run(version: Version, state: StateFolder) -> bytes:
    """Return the notebook of a version that an mlnb without `Lineage.notebook_source` has registered."""
    return source_path(state.runs / PurePath(version.lineage.run).name, PurePath(version.lineage.notebook)).read_bytes()
