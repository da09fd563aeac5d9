"""``secret("NAME")`` becomes a plain text that nothing a run writes will show: not outputs, errors, records, artifacts.

Where a kernel runs us, the first call puts a guard before everything that the kernel says (`guard`): streams, displays
of every MIME type, results, tracebacks, widgets and replies. The name enters a stage's cache key, because it stands in
its code; the value never does.

What the guard cannot do: unsay what was said before the first call; find what the user's own code makes of a value
(reversed, compressed, drawn into a picture); look into files that the user's code writes; hide from the front end the
code in which somebody typed the value itself. Outside a kernel (a plain script) there is no guard.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path

from mlnb.errors import HandoffError
from mlnb.settings import read_settings
from mlnb.store.artifact import Artifact
from mlnb.store.files import FileStore
from mlnb.store.redaction import KNOWN
from mlnb.store.secret import look_up


def secret(name: str) -> str:
    """Return the value of a secret, and keep it out of everything that this kernel says.

    Looked for in this order: the variables ``MLNB_SECRET_<name>`` and ``<name>``; a file ``<name>`` in the setting
    `secrets_folder` (default ``/run/secrets``); a line of the dotenv file in the setting `secrets_file`; the keyring,
    service ``mlnb``.

    Parameters
    ----------
    name : str
        As in ``secret("DB_PASSWORD")``. Write it out: it is part of the cache key where it stands in the code.

    Returns
    -------
    str
        A plain text, for any client library.

    Raises
    ------
    SecretError
        If nobody has it, its file may be read by others than its owner, or it is shorter than 4 characters.
    """
    project = _project_above(Path.cwd())
    value = look_up(name, os.environ, read_settings(project, os.environ), project)
    KNOWN.add(name, value)
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is not None:
        from mlnb.run.guard import guard

        guard(shell)
    return value


def refuse_in_artifact(artifact: Artifact, store: FileStore, *, giver: str, taker: str) -> None:
    """Refuse a value that was just stored and holds a secret; its bytes are taken out of the store again.

    Raises
    ------
    HandoffError
        Naming the variable and the secret.
    """
    if not KNOWN:
        return
    path = store.path(artifact.digest)
    held = ""
    if path.stat().st_size:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            held = KNOWN.held_by(content)
    if held:
        path.unlink()
        raise HandoffError(
            f"The variable {artifact.name!r} of {giver} holds the secret {held!r}, which {taker or 'its marks'} would "
            "get from a file.",
            f'Give what was made with it, and call secret("{held}") again where it is needed.',
            name=artifact.name,
            giver=giver,
            taker=taker,
        )


def _project_above(folder: Path) -> Path:
    """Return the nearest folder whose settings hold here."""
    for above in (folder, *folder.parents):
        if (above / ".mlnb" / "format.json").is_file():
            return above
        with suppress(OSError, UnicodeDecodeError):
            if "[tool.mlnb" in (above / "pyproject.toml").read_text("utf-8"):
                return above
    return folder
