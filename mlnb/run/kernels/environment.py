"""The environment of a process becomes that of a stage's kernel."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mlnb.run.kernels.warm import OWNER


def environment(seed: int) -> Mapping[str, str]:
    """Return this process's environment with the hash seed that makes the order of sets the same in every kernel."""
    kept = {name: value for name, value in os.environ.items() if name != OWNER}
    return {**kept, "PYTHONHASHSEED": str(seed)}
