"""A model package becomes the list of distributions that answering with it needs, pinned to what is installed here.

What a package refers to is read without loading it: the imports of its hook, the globals that a pickle names, the
modules in the schema of a skops file.
"""

from __future__ import annotations

import ast
import json
import os
import pickletools
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from mlnb.service.configuration import configure

_RUNTIME = ("httptools", "msgspec", "numpy", "uvicorn", *(() if sys.platform == "win32" else ("uvloop",)))
_EXPORTER_RUNTIMES = {
    "onnx": ("onnxruntime",),
    "skops": ("scikit-learn", "skops", "pandas"),
    "native": ("scikit-learn", "cloudpickle", "pandas"),
}


_GRPC = ("grpcio", "protobuf")


def asked_for(service: Mapping[str, object]) -> tuple[str, ...]:
    """Return the distributions that the settings of a service ask for, beside what every service needs.

    Parameters
    ----------
    service : Mapping
        ``[tool.mlnb.service]``; ``MLNB_GRPC_PORT`` wins.

    Raises
    ------
    SettingsError
        If one is not installed here, so that nobody knows which version of it to pin.
    """
    if not configure(service, os.environ).grpc_port:
        return ()
    from mlnb.service.grpc_call import check_grpc

    check_grpc()
    return _GRPC


def requirements(packages: Iterable[Path], further: Iterable[str] = ()) -> list[str]:
    """Return ``name==version`` of everything that must be there, sorted: the application's and the packages' runtimes.

    Parameters
    ----------
    packages : iterable of Path
        Package folders.
    further : iterable of str
        Distributions that the settings ask for; see `asked_for`.
    """
    needed = {*_RUNTIME, *further}
    for package in packages:
        manifest = json.loads((package / "package.json").read_bytes())
        exporter = str(manifest["exporter"])
        needed.update(_EXPORTER_RUNTIMES.get(exporter, ()))
        modules = set(_modules_of_model(exporter, package / str(manifest.get("model_file", ""))))
        hooks = package / "hooks.py"
        if hooks.is_file():
            modules.update(_imported(hooks.read_text("utf-8")))
        needed.update(_distributions(modules))
    return pinned(needed)


def pinned(names: Iterable[str]) -> list[str]:
    """Return ``name==version`` of distributions as they are installed here, sorted."""
    return [f"{name}=={metadata.version(name)}" for name in sorted(names)]


def installed_closure(needed: Iterable[str]) -> list[str]:
    """Return the pins of all that `needed` (``name==version``) asks for in turn, as it is installed here, sorted.

    A distribution that is asked for and is not installed is left out: it was not there in the pipeline either.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    waiting = [Requirement(line) for line in needed]
    seen: set[tuple[str, str]] = set()
    while waiting:
        asked = waiting.pop()
        name = canonicalize_name(asked.name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found[name] = distribution.version
        extras = {"", *asked.extras}
        for extra in extras:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            rows = map(Requirement, distribution.requires or ())
            waiting += [row for row in rows if row.marker is None or row.marker.evaluate({"extra": extra})]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _distributions(modules: set[str]) -> set[str]:
    foreign = modules - set(sys.stdlib_module_names)
    if not foreign:
        return set()
    known = metadata.packages_distributions()
    return {known[module][0] for module in foreign if module in known} - {"mlnb"}


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and node.args and _imports(node.func):
            named = node.args[0]
            if isinstance(named, ast.Constant) and isinstance(named.value, str):
                yield named.value.partition(".")[0]


def _imports(called: ast.expr) -> bool:
    """Say whether a call is ``importlib.import_module`` or ``__import__``, by whatever way it was named."""
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    return name in ("import_module", "__import__")


def _modules_of_model(exporter: str, model: Path) -> Iterator[str]:
    if exporter == "native":
        yield from _pickled(model.read_bytes())
    elif exporter == "skops":
        with zipfile.ZipFile(model) as archive:
            yield from _named(json.loads(archive.read("schema.json")))


def _named(schema: object) -> Iterator[str]:
    """Yield the top-level modules that a skops schema names."""
    if isinstance(schema, dict):
        module = schema.get("__module__")
        if isinstance(module, str):
            yield module.partition(".")[0]
        for value in schema.values():
            yield from _named(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _named(value)


def _pickled(content: bytes) -> Iterator[str]:
    """Yield the top-level modules of the globals that a pickle names (PEP 307, PEP 3154), without executing it."""
    memo: list[str] = []
    texts = ["", ""]
    for code, argument, _ in pickletools.genops(content):
        if code.name == "GLOBAL":
            yield str(argument).partition(" ")[0].partition(".")[0]
        elif code.name == "STACK_GLOBAL":
            yield texts[-2].partition(".")[0]
        elif code.name == "MEMOIZE":
            memo.append(texts[-1])
        elif code.name in ("BINGET", "LONG_BINGET") and isinstance(argument, int) and argument < len(memo):
            texts.append(memo[argument])
        elif "UNICODE" in code.name and isinstance(argument, str):
            texts.append(argument)
