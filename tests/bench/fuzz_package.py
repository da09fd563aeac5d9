"""Packages are spoiled in thousands of ways: each must be refused with a sentence or answer; no code of theirs may run.

What is spoiled: bytes of every file, with and without its digest corrected as a forger would; the values and names in
``package.json`` and ``signature.json``; the members of skops archives; and packages whose model, hook or pickle writes
a file when it is executed, unsigned, signed by a stranger, or called a model of another kind.
"""

from __future__ import annotations

import json
import pickle
import random
import shutil
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cloudpickle
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from mlnb.errors import MlnbError
from mlnb.model.export import export_model
from mlnb.model.scorer import file_digest, load_scorer
from mlnb.store.signing import verify
from tests.bench.place import Place
from tests.bench.table import Table

TRIES = 10_000
_HOOK = "def preprocess(rows):\n    return rows\n"
_NAMES = (
    "..",
    "../outside",
    "/etc/passwd",
    "",
    ".",
    "a\0b",
    "model.onnx",
    "hooks.py",
    "package.json",
    "é" * 300,
    "x/y",
)
_VALUES = (None, True, -1, 10**30, 1e308, "", "x" * 5000, [], {}, [[[]]], {"a": {"b": []}}, "float64", "\ud800")
Spoil = Callable[[Path, random.Random, Path], None]


class Packages:
    """Whole packages to spoil, by name.

    Parameters
    ----------
    folder : Path
        They are written there; so is what is made of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows, target = load_iris(return_X_y=True, as_frame=True)
        model = LogisticRegression(max_iter=500).fit(self.rows, target)
        self.whole = {name: folder / name for name in ("plain", "hooked", "zipped", "pickled")}
        export_model(model, self.rows, self.whole["plain"], model="m")
        export_model(model, self.rows, self.whole["hooked"], model="m", hooks=_HOOK)
        for name, exporter, file in [("zipped", "skops", "model.skops"), ("pickled", "native", "model.pkl")]:
            shutil.copytree(self.whole["plain"], self.whole[name])
            _store(self.whole[name], exporter, file, model)

    def attempt(self, kind: str, seed: int) -> str:
        """Spoil a package and load it: ``refused``, ``answered``, ``executed``, or what was raised that is no sentence."""
        draw = random.Random(seed)
        package, mark = self.folder / "spoiled", self.folder / "mark"
        shutil.rmtree(package, ignore_errors=True)
        name = "zipped" if kind == "archive" else draw.choice(list(self.whole))
        shutil.copytree(self.whole[name], package)
        SPOILS[kind](package, draw, mark)
        outcome = self._loaded(package, trusted=kind == "archive")
        if mark.exists():
            mark.unlink()
            return "executed"
        return outcome

    def _loaded(self, package: Path, *, trusted: bool) -> str:
        def judge(digest: str, signature: str, key: str) -> bool:
            if not trusted:
                verify(digest, signature, key)
            return True

        try:
            with warnings.catch_warnings(action="ignore"):
                scorer = load_scorer(package, allow_code=judge)
                scorer.score(scorer.signature.check(self.rows[:3].to_dict("records")))
        except MlnbError as error:
            return "refused" if error.problem.endswith(".") and error.remedy else f"no sentence: {error}"
        except Exception as error:
            return f"{type(error).__module__}.{type(error).__name__}: {str(error)[:120]}"
        return "answered"


def bench(place: Place) -> Table:
    """Spoil packages 10,000 times for each repetition."""
    packages = Packages(place.make("packages"))
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in SPOILS}
    raw: Counter[str] = Counter()
    kinds = list(SPOILS)
    for at in range(TRIES * place.count):
        kind = kinds[at % len(kinds)]
        outcome = packages.attempt(kind, at)
        known = outcome in {"refused", "answered", "executed"}
        counts[kind][outcome if known else "raised"] += 1
        raw[outcome] += not known
    names = ("refused", "answered", "raised", "executed")
    held = not any(found["raised"] or found["executed"] for found in counts.values())
    return Table(
        f"fuzz_package: spoiled packages (tries: {TRIES * place.count:,})",
        ["spoiled", "tries", *names],
        [[kind, f"{found.total():,}", *(f"{found[name]:,}" for name in names)] for kind, found in counts.items()],
        [
            f"Nothing may be raised that is no sentence, nothing executed: {'holds' if held else 'DOES NOT HOLD'}.",
            "Answered is right where bytes changed that no answer depends on, and their digest was corrected.",
            *(f"raised {count} times: {told}" for told, count in raw.most_common(5) if count),
        ],
        held,
    )


def _bytes(package: Path, draw: random.Random, mark: Path) -> None:
    """Change bytes of a file; nothing is corrected."""
    _change(draw.choice(sorted(package.iterdir())), draw)


def _forged(package: Path, draw: random.Random, mark: Path) -> None:
    """Change bytes of a file and correct its digest."""
    files = sorted(path for path in package.iterdir() if path.name != "package.json")
    path = draw.choice([*files, *[one for one in files if one.suffix == ".onnx"] * 3])
    _change(path, draw)
    _correct(package)


def _archive(package: Path, draw: random.Random, mark: Path) -> None:
    """Change a skops archive that is trusted: its bytes, or one of its members."""
    path = package / "model.skops"
    if draw.random() < 0.5:
        _change(path, draw)
    else:
        with zipfile.ZipFile(path) as archive:
            held = {name: archive.read(name) for name in archive.namelist()}
        name = draw.choice(sorted(held))
        if draw.random() < 0.3:
            del held[name]
        else:
            held[name] = _changed(held[name], draw)
        with zipfile.ZipFile(path, "w") as archive:
            for one, content in held.items():
                archive.writestr(one, content)
    _correct(package)


def _manifest(package: Path, draw: random.Random, mark: Path) -> None:
    """Change values and names in ``package.json``."""
    path = package / "package.json"
    told = json.loads(path.read_bytes())
    for _ in range(draw.choice((1, 1, 2, 4))):
        told = _replaced(told, draw)
    path.write_text(json.dumps(told))


def _signature(package: Path, draw: random.Random, mark: Path) -> None:
    """Change values and names in ``signature.json`` and correct its digest."""
    path = package / "signature.json"
    told = json.loads(path.read_bytes())
    for _ in range(draw.choice((1, 1, 2, 4))):
        told = _replaced(told, draw)
    deep = "[" * 100_000 if draw.random() < 0.01 else json.dumps(told)
    path.write_text(deep)
    _correct(package)


def _hostile(package: Path, draw: random.Random, mark: Path) -> None:
    """Put code into a package that writes `mark`, in one of the places where code could be loaded from."""
    payload = _Writes(mark)
    manifest = json.loads((package / "package.json").read_bytes())
    match draw.randrange(4):
        case 0:
            (package / "hooks.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n{_HOOK}")
            manifest["files"]["hooks.py"] = ""
        case 1:
            file = manifest["model_file"]
            (package / file).write_bytes(pickle.dumps(payload))
            manifest["exporter"] = draw.choice(("onnx", "skops", "native", manifest["exporter"], "joblib"))
        case 2:
            file = draw.choice(("model.pkl", "model.py", "model.onnx", "sample.json"))
            (package / file).write_bytes(pickle.dumps(payload))
            manifest["files"][file] = ""
            manifest |= {"exporter": draw.choice(("native", "skops")), "model_file": file}
        case _:
            path = package / "model.skops"
            with zipfile.ZipFile(path, "w") as archive:
                told = {
                    "__class__": "system",
                    "__module__": "os",
                    "__loader__": "FunctionNode",
                    "content": f"touch {mark}",
                }
                archive.writestr("schema.json", json.dumps({**told, "protocol": 2, "_skops_version": "0.16"}))
            manifest["files"]["model.skops"] = ""
            manifest |= {"exporter": "skops", "model_file": "model.skops"}
    if draw.random() < 0.5:
        stranger = Ed25519PrivateKey.generate()
        signed = {name: stranger.sign(name.encode()).hex() for name in manifest["files"]}
        manifest["signatures"] = {name: {"signature": told, "key": "0" * 16} for name, told in signed.items()}
    (package / "package.json").write_text(json.dumps(manifest))
    _correct(package)


class _Writes:
    """Its pickle writes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._mark,)


def _store(package: Path, exporter: str, file: str, model: object) -> None:
    """Replace the model of a package by one of another kind, signed by this user."""
    import skops.io

    from mlnb.store import signing

    (package / "model.onnx").unlink()
    (package / file).write_bytes(skops.io.dumps(model) if exporter == "skops" else cloudpickle.dumps(model))
    manifest = json.loads((package / "package.json").read_bytes())
    del manifest["files"]["model.onnx"]
    signature, key = signing.sign(file_digest(package / file))
    manifest |= {"exporter": exporter, "model_file": file, "signatures": {file: {"signature": signature, "key": key}}}
    manifest["files"][file] = ""
    (package / "package.json").write_text(json.dumps(manifest))
    _correct(package)


def _correct(package: Path) -> None:
    path = package / "package.json"
    manifest = json.loads(path.read_bytes())
    manifest["files"] = {name: file_digest(package / name) for name in manifest["files"] if (package / name).is_file()}
    path.write_text(json.dumps(manifest))


def _change(path: Path, draw: random.Random) -> None:
    path.write_bytes(_changed(path.read_bytes(), draw))


def _changed(content: bytes, draw: random.Random) -> bytes:
    made = bytearray(content or b"\0")
    for _ in range(draw.choice((1, 1, 3, 20))):
        at, how = draw.randrange(len(made)), draw.random()
        if how < 0.6:
            made[at] = (made[at] + draw.randrange(1, 256)) % 256
        elif how < 0.8:
            made = made[:at] or bytearray(b"\0")
        else:
            made[at:at] = draw.randbytes(draw.randrange(1, 30))
    return bytes(made) if bytes(made) != content else bytes(made) + b"\0"


def _replaced(told: Any, draw: random.Random) -> Any:
    """Return the JSON with one value or name in it replaced or removed, at a random depth."""
    if isinstance(told, Mapping) and told and draw.random() < 0.85:
        name = draw.choice(sorted(told))
        how = draw.random()
        if how < 0.6:
            return {**told, name: _replaced(told[name], draw)}
        left = {one: value for one, value in told.items() if one != name}
        return left if how < 0.8 else {**left, draw.choice(_NAMES): told[name]}
    if isinstance(told, list) and told and draw.random() < 0.7:
        at = draw.randrange(len(told))
        return [*told[:at], _replaced(told[at], draw), *told[at + 1 :]]
    return draw.choice([*_VALUES, *_NAMES, float(draw.randrange(-5, 5)), draw.randrange(-5, 100)])


SPOILS: Mapping[str, Spoil] = {
    "bytes": _bytes,
    "forged": _forged,
    "archive": _archive,
    "manifest": _manifest,
    "signature": _signature,
    "hostile": _hostile,
}
