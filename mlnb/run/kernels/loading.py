"""Names of modules become modules in memory, before there is a kernel: what cannot be loaded so is left to the kernel.

Some modules must not be loaded then: they ask for IPython's shell when they are imported, which does not exist yet, or
they start threads, which would be lost in a fork. Whatever imports one of them is left alone as well.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import sys
import sysconfig
from collections.abc import Callable, Collection, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

from mlnb.store.codec import codecs

ASKS_FOR_THE_SHELL = frozenset(
    {"plotly", "ipywidgets", "anywidget", "bokeh", "altair", "holoviews", "hvplot", "panel", "pyspark", "itables"}
    | {
        "tqdm.auto",
        "tqdm.autonotebook",
        "tqdm.notebook",
        "matplotlib_inline.config",
        "pydeck",
        "lonboard",
        "vegafusion",
    }
)
"""They choose how to draw, or register with the kernel, when they are imported."""

CUDA = frozenset({"torch", "tensorflow", "cupy", "jax", "jaxlib", "cudf", "cuml", "rmm", "mxnet", "paddle", "pycuda"})
"""They may initialise CUDA, which does not work after a fork."""

STARTS_THREADS = frozenset({"polars", "grpc", "onnxruntime", "ray", "pymongo", "vllm", "cv2", "tables"})
"""They start native threads when they are imported, or cannot live with a fork at all."""

BEFORE_A_FORK = ASKS_FOR_THE_SHELL | CUDA | STARTS_THREADS
"""What a process that is going to fork must not load."""

_LOOKS_FOR_A_KERNEL = "pandas.core.config_init"  # how many columns of a frame are shown depends on it
_SHELL = "get_ipython"

KERNEL = (
    "ipykernel.kernelapp",
    "IPython.core.debugger",
    "IPython.core.completerlib",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "tornado.platform.asyncio",
    "tornado.queues",
    "sqlite3",
    "encodings.idna",
    "mlnb.run.cells",
    "mlnb.run.handoff",
    "ipykernel.debugger",
)
"""What every kernel of a stage loads."""


_DEBUGGER = "debugpy"


class Loader:
    """Imports modules one by one, whatever they do.

    Parameters
    ----------
    project : Path
        Modules below it are the project's own, which change: they are left to the kernel.
    never : collection of str
        Modules that must not be loaded here, nor what imports them.
    """

    def __init__(self, project: Path, never: Collection[str]) -> None:
        self._project = project.resolve()
        self._guard = _Guard(never)

    def load_kernel(self) -> None:
        """Import what every kernel of a stage needs, without debugpy: 0.6 s, and nobody attaches a debugger there."""
        sys.modules.setdefault(_DEBUGGER, None)  # type: ignore[arg-type]  # Python's own way to forbid an import
        for name in KERNEL:
            self.load(name)
        if sys.modules[_DEBUGGER] is None:
            del sys.modules[_DEBUGGER]
        self.attempt(codecs)

    def load(self, name: str) -> None:
        """Import `name` if it can be: ``package.module``, or ``package.thing`` where `thing` may be a module."""
        top = name.partition(".")[0]
        if top in sys.modules or not self._is_the_projects(top):
            self.attempt(lambda: _import(name))

    def attempt(self, load: Callable[[], object]) -> None:
        """Call something that imports, whatever comes of it."""
        sys.meta_path.insert(0, self._guard)
        try:
            load()
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001, S110  # whatever is wrong with it, the cell that imports it will say
            pass
        finally:
            sys.meta_path.remove(self._guard)

    def _is_the_projects(self, top: str) -> bool:
        try:
            spec = find_spec(top)
        except (ImportError, ValueError):
            return True
        places = [*(spec.submodule_search_locations or ()), spec.origin or ""] if spec else []
        return any(self._project in Path(place).parents and not _installed(place) for place in places if place)


def sources_outside() -> dict[str, tuple[int, int]]:
    """Return the files of loaded modules that no installer put there, each with its time (ns) and its size (bytes)."""
    found = {}
    library = sysconfig.get_path("stdlib")
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None) if isinstance(module, ModuleType) else None
        if not isinstance(file, str) or _installed(file) or file.startswith(library):
            continue
        try:
            status = Path(file).stat()
        except OSError:
            continue
        found[file] = (status.st_mtime_ns, status.st_size)
    return found


def _import(name: str) -> None:
    parent, _, last = name.rpartition(".")
    if not parent or not hasattr(importlib.import_module(parent), last):
        importlib.import_module(name)


def _installed(place: str) -> bool:
    parts = Path(place).parts
    return "site-packages" in parts or "dist-packages" in parts


class _Forbidden(BaseException):
    """Passes through every ``except ImportError``, so that no optional dependency counts as missing from then on."""


class _Guard(MetaPathFinder):
    """Keeps modules from being loaded, and lets those see a kernel that only look whether they are in one."""

    def __init__(self, never: Collection[str]) -> None:
        self._never = frozenset(never)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in self._never and PathFinder.find_spec(fullname, path) is not None:
            raise _Forbidden(fullname)
        if fullname != _LOOKS_FOR_A_KERNEL:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _InAKernel(spec.loader)
        return spec


class _InAKernel(importlib.abc.Loader):
    """Loads as the real loader does, while there seems to be a shell with a kernel, and puts that loader back."""

    def __init__(self, real: importlib.abc.Loader) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._real
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        seen = hasattr(builtins, _SHELL)
        if not seen:
            setattr(builtins, _SHELL, lambda: SimpleNamespace(kernel=None))
        try:
            self._real.exec_module(module)
        finally:
            if not seen:
                delattr(builtins, _SHELL)
