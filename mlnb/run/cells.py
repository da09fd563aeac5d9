"""A cell's text becomes the file name of its code: the same in every kernel, so that pickled functions are stable.

ipykernel puts the process id into that name. Loaded as an IPython extension into the kernels of stages.
"""

from __future__ import annotations

import hashlib
from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """Name the code of every cell after the digest of its text."""
    shell.compile.get_code_name = _code_name


def _code_name(raw_code: str, transformed_code: str, number: int) -> str:
    return f"<mlnb-cell-{hashlib.sha256(raw_code.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}>"
