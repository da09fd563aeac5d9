"""A project's root becomes its ``.mlnb`` folder: where runs, cache, artifacts, services and predictions lie.

Format 1, in ``format.json``. ``.gitignore`` keeps the folder out of version control.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from mlnb.errors import StateError
from mlnb.store.disk import make_folder, storing, write_bytes
from mlnb.store.files import FileStore
from mlnb.store.manifest import read_json, write_json
from mlnb.store.undone import Undone

if TYPE_CHECKING:
    from mlnb.settings import Settings

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
    settings : Settings or None
        Where ledger and artifacts lie, and what encrypts them; None for the defaults.
    """

    root: Path
    shared: str = ""
    settings: Settings | None = field(default=None, compare=False, repr=False)

    @classmethod
    def open(cls, project_root: Path, shared: str = "", settings: Settings | None = None) -> StateFolder:
        """Return the state folder of a project, made where it is missing; the rest is as in the attributes.

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
        state = cls(root, shared, settings)
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
    def place(self) -> str:
        """What tells this folder from others that share its ledger, whatever its machine is called; made once."""
        path = self.root / "place"
        with storing(path):
            if not path.exists():
                draft = self.root / f".place-{token_hex(8)}"
                write_bytes(draft, token_hex(16).encode())
                try:
                    os.link(draft, path)  # of two processes the first one's stays
                except FileExistsError:
                    pass
                except OSError:  # a file system without links
                    draft.replace(path)
                draft.unlink(missing_ok=True)
            return f"{path.read_text('utf-8').strip()}:{self.root}"

    @property
    def undone(self) -> Undone:
        """What moves of aliases have left to be done."""
        return Undone(self.root / "effects")

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold off garbage collection while artifacts are written that nothing names yet; any number may do so."""
        with self._locked(alone=False):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold off whoever would write artifacts.

        Raises
        ------
        StateError
            If somebody does already.
        """
        with self._locked(alone=True):
            yield

    @contextmanager
    def _locked(self, *, alone: bool) -> Iterator[None]:
        if os.name != "posix":  # there the age of what is collected is all that protects it
            yield
            return
        import fcntl

        place = self.root / "in-use.lock"
        with storing(place):
            handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
            except BlockingIOError as error:
                raise StateError(
                    f"A run or a deployment is going on in {self.project}: nothing names yet what it writes.",
                    "Repeat the command when it has ended.",
                    path=str(self.root),
                ) from error
            yield
        finally:
            os.close(handle)

    @property
    def ledger(self) -> Path | str:
        """The database of versions, aliases and audit: a file here, or the address of one elsewhere."""
        address = self.settings.ledger if self.settings is not None else ""
        if "://" in address:
            return address
        return self.project / Path(address).expanduser() if address else self.root / "ledger.db"

    @property
    def files(self) -> FileStore:
        """The store of artifacts.

        Raises
        ------
        SettingsError, SecretError
            If the settings name an encryption key that cannot be had.
        """
        chosen = self.settings
        if chosen is None or not (chosen.artifacts or chosen.encryption_key):
            return FileStore(self.artifacts)
        from mlnb.store.depot import depot_at
        from mlnb.store.vault import vault_of

        address = chosen.artifacts
        if address and "://" not in address:  # a folder, from the project's root
            address = f"file://{self.project / Path(address).expanduser()}"
        return FileStore(self.artifacts, depot_at(address) if address else None, vault_of(chosen, self.project))
