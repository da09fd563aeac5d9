"""A notebook, the champion's lineage and git become whether that notebook may retrain the model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.run.surroundings import git_changed, git_follows, git_state

if TYPE_CHECKING:
    from mlnb.notebook.document import Document
    from mlnb.registry.version import Version

_MODULES = ":(glob)**/*.py"


def refusal(document: Document, champion: Version | None, code: str, root: Path) -> str:
    """Say why a notebook may not retrain a model; empty where it may.

    Parameters
    ----------
    document : Document
        The notebook as it is now.
    champion : Version or None
        What it is to challenge; None asks for nothing.
    code : {"committed", "same", "any"}
        ``same``: the file that the champion is from. ``committed``: that one, or one of the champion's commit or a
        later one, with nothing changed since in it or in a Python module of the project. ``any``: whatever is there.
    root : Path
        The project's folder.
    """
    if champion is None or code == "any" or document.digest == champion.lineage.notebook_digest:
        return ""
    name, before = document.path.name, champion.lineage.git_commit
    if code == "same":
        return f'{name} is not the notebook that {champion.ref} is from, and code = "same" asks for that.'
    commit, _ = git_state(root)
    if not commit:
        return f"{name} has changed since {champion.ref}, and there is no git that could say how."
    if git_changed(root, os.path.relpath(document.path, root), _MODULES):
        return f"{name} has changed since {champion.ref}, and it or a module has changes that are not committed."
    if before and not git_follows(root, before):
        return f"{name} is at commit {commit[:12]}, which does not come after {before[:12]}, that of {champion.ref}."
    return ""
