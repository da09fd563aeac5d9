"""What the front end tells a kernel becomes the path of the notebook that the kernel belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from mlnb.errors import UsageError
from mlnb.notebook.suffixes import NOTEBOOKS


def notebook_of(names: Mapping[str, object], environ: Mapping[str, str], folder: Path) -> Path:
    """Return the saved notebook that this kernel belongs to.

    Parameters
    ----------
    names : mapping
        The user's namespace: VS Code puts ``__vsc_ipynb_file__`` there, its window for a script ``__file__``.
    environ : mapping
        JupyterLab and Notebook put ``JPY_SESSION_NAME`` there, absolute or relative to the server's root; through
        jupytext it may be a text notebook.
    folder : Path
        The folder in which the kernel was started: the notebook's own.

    Raises
    ------
    UsageError
        If nobody says so, or the file does not exist.
    """
    told = [str(names[key]) for key in ("__vsc_ipynb_file__", "__session__", "__file__") if names.get(key)]
    told += [environ[key] for key in ("JPY_SESSION_NAME",) if environ.get(key)]
    for name in told:
        for path in _candidates(Path(name), folder):
            if path.suffix in NOTEBOOKS and path.is_file():
                return path.resolve()
    if told:
        raise UsageError(
            f"The notebook {told[0]} of this kernel is not on disk.",
            "Save it, or name the file: %mlnb run path/to/notebook.ipynb.",
        )
    raise UsageError(
        "This front end does not say which notebook the kernel belongs to.",
        "Name the file: %mlnb run path/to/notebook.ipynb.",
    )


def _candidates(name: Path, folder: Path) -> Iterator[Path]:
    if name.is_absolute():
        yield name
    yield folder / name.name
    for above in (folder, *folder.parents):
        yield above / name
