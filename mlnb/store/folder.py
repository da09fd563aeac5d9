"""A project's root becomes its ``.mlnb`` folder: where runs, cache, artifacts, services and predictions lie.

Format 1, in ``format.json``. ``.gitignore`` keeps the folder out of version control.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from mlnb.store.disk import make_folder, storing, write_bytes
from mlnb.store.files import FileStore
from mlnb.store.manifest import read_json, write_json

FORMAT = 1


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The ``.mlnb`` folder of a project.

    Attributes
    ----------
    root : Path
        The folder itself, absolute.
    shared : str
        Address of the shared cache, empty for none.
    """

    root: Path
    shared: str = ""

    @classmethod
    def open(cls, project_root: Path, shared: str = "") -> StateFolder:
        """Return the state folder of a project, made where it is missing; `shared` is as in the attributes.

        Raises
        ------
        NewerFormatError
            If a newer mlnb wrote it.
        CorruptError
            If ``format.json`` is damaged.
        StorageError
            If it is missing and cannot be made.
        """
        root = project_root.absolute() / ".mlnb"
        if shared and "://" not in shared:  # a folder, from the project's root
            shared = f"file://{root.parent / Path(shared).expanduser()}"
        state = cls(root, shared)
        try:
            with storing(root, "read"):
                known = (root / "format.json").exists()
            if known:
                read_json(root / "format.json", FORMAT)
        except FileNotFoundError:
            known = False
        for folder in (state.artifacts, state.runs, state.cache, state.services, state.predictions):
            if not folder.is_dir():
                make_folder(folder)
        if not (root / ".gitignore").exists():
            write_bytes(root / ".gitignore", b"*\n")
        if not known:
            write_json(root / "format.json", {"format": FORMAT, "mlnb": version("mlnb")})
        return state

    @property
    def project(self) -> Path:
        """The project's root."""
        return self.root.parent

    @property
    def artifacts(self) -> Path:
        """Content-addressed files."""
        return self.root / "artifacts"

    @property
    def runs(self) -> Path:
        """One folder for each run."""
        return self.root / "runs"

    @property
    def cache(self) -> Path:
        """One manifest for each stage result that can be reused."""
        return self.root / "cache"

    @property
    def services(self) -> Path:
        """One folder for each service."""
        return self.root / "services"

    @property
    def predictions(self) -> Path:
        """The prediction logs."""
        return self.root / "predictions"

    @property
    def ledger(self) -> Path:
        """The database of versions, aliases and audit."""
        return self.root / "ledger.db"

    @property
    def files(self) -> FileStore:
        """The store of artifacts."""
        return FileStore(self.artifacts)
