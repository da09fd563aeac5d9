"""A cell's text becomes the file name of its code: the same in every kernel, so that pickled functions are stable.

ipykernel puts the process id into that name. Loaded as an IPython extension into the kernels of stages.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

from mlnb.run.kernels.seeds import seed_first_cell
from mlnb.run.schemas import tell_plainly


def load_ipython_extension(shell: Any) -> None:
    """Name the code of every cell after the digest of its text; seed the random generators like the hashes."""
    shell.compile.get_code_name = _code_name
    seed_first_cell(shell, int(os.environ.get("PYTHONHASHSEED", "0")))
    shell.events.register("post_run_cell", _keep_frames)
    tell_plainly(shell)


def code_name(source: str) -> str:
    """Return the file name of the code of a cell with this text."""
    return f"<mlnb-cell-{hashlib.sha256(source.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}>"


def _code_name(raw_code: str, transformed_code: str, number: int) -> str:
    return code_name(raw_code)


def _keep_frames(result: Any) -> None:
    """Keep the user's variables where a cell has raised (`mlnb.run.frames`, which is loaded only then)."""
    if result.error_in_exec is not None:
        from mlnb.run.frames import keep

        keep(result.error_in_exec)
