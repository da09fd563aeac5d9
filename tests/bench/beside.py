"""Requirements become a virtual environment beside this one: what it installs comes first, all else is found here.

Where a variable such as TORCH_PYTHON names a Python, that one is taken: for a machine that has a large library already.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.bench.place import Place


def beside(place: Place, name: str, *requirements: str) -> str:
    """Return the Python of an environment with the requirements, made below the place's folder.

    Parameters
    ----------
    place : Place
        Where to.
    name : str
        Of the environment; ``<NAME>_PYTHON`` is the variable.
    *requirements : str
        As pip takes them.
    """
    known = os.environ.get(f"{name.upper()}_PYTHON")
    if known:
        return known
    folder = place.folder / name
    python = str(folder / "bin" / "python")
    uv = str(Path(sys.executable).parent / "uv")
    print(f"(installing {', '.join(requirements)} ...)", file=sys.stderr, flush=True)
    for words in (
        ("venv", "-q", "--python", sys.executable, str(folder)),
        ("pip", "install", "-q", "--python", python, *requirements),
    ):
        subprocess.run([uv, *words], cwd=place.folder, check=True)
    ours = Path(sysconfig.get_path("purelib"))
    theirs = next((folder / "lib").glob("python3.*/site-packages"))
    (theirs / "mlnb_beside.pth").write_text(f"import site; site.addsitedir({str(ours)!r})\n", "utf-8")
    return python
