"""The hash seed of a stage's kernel seeds `random` and numpy's global generator too, whatever made the kernel.

numpy is seeded when it is imported: a kernel that never needs it does not load it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_NUMPY = "numpy.random"


def seed_first_cell(shell: Any, seed: int) -> None:
    """Let an IPython shell seed the generators before its first cell, when the kernel itself has used them."""

    def seed_now(_: object) -> None:
        shell.events.unregister("pre_run_cell", seed_now)
        seed_generators(seed)

    shell.events.register("pre_run_cell", seed_now)


def seed_generators(seed: int) -> None:
    """Seed both generators, numpy's as soon as it is there."""
    random.seed(seed)
    if _NUMPY in sys.modules:
        sys.modules[_NUMPY].seed(seed)
    else:
        sys.meta_path.insert(0, _SeedsNumpy(seed))


class _SeedsNumpy(MetaPathFinder):
    def __init__(self, seed: int) -> None:
        self._seed = seed

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _NUMPY:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Seeding(spec.loader, self._seed)
        return spec


class _Seeding(Loader):
    """Loads as the real loader does, puts that back in its place, and seeds."""

    def __init__(self, real: Loader, seed: int) -> None:
        self._real = real
        self._seed = seed

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._real
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        self._real.exec_module(module)
        module.seed(self._seed)
