"""Loading packages: nothing corrupt, nothing untrusted, and nothing heavy."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mlnb.errors import CorruptError, ModelError, NewerFormatError, UntrustedError
from mlnb.model.export import Export
from mlnb.model.scorer import Scorer, code_files, file_digest, load_scorer, read_package
from mlnb.service.bento import carried

Tumours = tuple[pd.DataFrame, pd.Series]
Exported = Callable[..., tuple[Export, Scorer, Path]]
Signed = Callable[[str, str, str], bool]
HEAVY = ["sklearn", "pandas", "scipy", "skl2onnx", "onnx", "skops", "cloudpickle", "papermill", "plotly", "IPython"]


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.mark,)


@pytest.fixture
def portable(tumours: Tumours, exported: Exported) -> Path:
    """Return the folder of an ONNX package."""
    _, _, folder = exported(make_pipeline(StandardScaler(), LogisticRegression()).fit(*tumours), tumours[0])
    return folder


@pytest.fixture
def native(tumours: Tumours, exported: Exported) -> Path:
    """Return the folder of a pickled package."""
    twice = FunctionTransformer(eval("lambda X: X * 2", {"__name__": "__main__"}))
    _, _, folder = exported(make_pipeline(twice, StandardScaler(), LogisticRegression()).fit(*tumours), tumours[0])
    return folder


def rewrite(folder: Path, **changes: object) -> None:
    package = json.loads((folder / "package.json").read_bytes())
    (folder / "package.json").write_text(json.dumps(package | changes))


@pytest.mark.parametrize("name", ["model.onnx", "signature.json", "sample.json", "expected.json"])
def test_a_changed_file_is_corrupt(name: str, portable: Path) -> None:
    content = bytearray((portable / name).read_bytes())
    content[len(content) // 2] ^= 1
    (portable / name).write_bytes(content)
    with pytest.raises(CorruptError, match=f"{name} was changed after it was written") as caught:
        load_scorer(portable)
    assert caught.value.digest == read_package(portable)["files"][name]


def test_a_missing_file_is_corrupt(portable: Path) -> None:
    (portable / "model.onnx").unlink()
    with pytest.raises(CorruptError, match=r"model\.onnx cannot be read"):
        load_scorer(portable)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": 1}', '{"format": "x"}', '{"format": 1, "files": {}, "exporter": "onnx"}']
)
def test_a_damaged_package_is_corrupt(content: str, portable: Path) -> None:
    (portable / "package.json").write_text(content)
    with pytest.raises(CorruptError):
        load_scorer(portable)


def test_a_file_outside_of_the_package_is_not_read(portable: Path) -> None:
    files = read_package(portable)["files"]
    rewrite(portable, files=files | {"../model.onnx": files["model.onnx"]}, model_file="../model.onnx")
    with pytest.raises(CorruptError, match="does not list a package's files"):
        load_scorer(portable)


def test_a_newer_package_and_an_unknown_exporter_are_refused(portable: Path) -> None:
    rewrite(portable, format=3)
    with pytest.raises(NewerFormatError):
        load_scorer(portable)
    rewrite(portable, format=1, exporter="pmml")
    with pytest.raises(ModelError, match="'pmml', which this mlnb cannot score"):
        load_scorer(portable, allow_code=lambda *_: True)


def test_an_onnx_package_needs_no_trust(portable: Path) -> None:
    assert code_files(portable) == ()
    assert load_scorer(portable).exporter == "onnx"


def test_a_pickle_is_loaded_only_if_its_digest_is_allowed(native: Path) -> None:
    (code,) = code_files(native)
    for refused in (None, (), {"sha256:0"}, lambda *_: False):
        with pytest.raises(UntrustedError, match=r"model\.pkl in .* can execute code") as caught:
            load_scorer(native, allow_code=refused)
        assert caught.value.digest == code.digest
    assert load_scorer(native, allow_code={code.digest}).exporter == "native"


def test_a_pickle_that_somebody_put_there_is_never_loaded(native: Path, signed: Signed, tmp_path: Path) -> None:
    (code,) = code_files(native)
    (native / "model.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "mark")))
    with pytest.raises(CorruptError):
        load_scorer(native, allow_code={code.digest})
    files = read_package(native)["files"] | {"model.pkl": file_digest(native / "model.pkl")}
    rewrite(native, files=files)
    with pytest.raises(UntrustedError, match="its signature is wrong"):
        load_scorer(native, allow_code=signed)
    rewrite(native, signatures={})
    with pytest.raises(UntrustedError, match="signed by nobody"):
        load_scorer(native, allow_code=signed)
    assert not (tmp_path / "mark").exists()


def test_a_hook_that_is_not_allowed_is_not_executed(tumours: Tumours, exported: Exported, tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(*tumours)
    mark = tmp_path / "mark"
    hook = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\ndef preprocess(rows): return rows"
    folder = exported(model, tumours[0], hooks=hook)[2]
    mark.unlink()
    with pytest.raises(UntrustedError, match=r"hooks\.py in .* can execute code"):
        load_scorer(folder)
    assert not mark.exists()


def test_a_hook_that_gives_other_columns_is_the_hooks_fault(tumours: Tumours, exported: Exported) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(*tumours)
    hook = "def preprocess(rows): return [{k: None if v == -1 else v for k, v in row.items()} for row in rows]"
    _, scorer, _ = exported(model, tumours[0], hooks=hook)
    row = {column.name: -1.0 for column in scorer.signature.inputs}
    with pytest.raises(ModelError, match=r"preprocess gave what the model does not take: rows\[0\]: column"):
        scorer.score(scorer.signature.check([row]))


def test_the_carried_modules_import_nothing_heavy() -> None:
    code = (
        "import sys; import mlnb.model.signature, mlnb.model.scorer, mlnb.model.hooks;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not set(loaded) & {*HEAVY, "onnxruntime"}
    code = "import sys, mlnb.model.scorer; print(*(name for name in sys.modules if name.startswith('mlnb')))"
    ours = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True).stdout.split()
    ours = [f"{name.removeprefix('mlnb.').replace('.', '/')}.py" for name in ours if name not in {"mlnb", "mlnb.model"}]
    assert set(ours) <= set(carried())


def test_an_onnx_package_is_scored_where_nothing_else_is_installed(portable: Path) -> None:
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}));"
        "import json, pathlib; from mlnb.model.scorer import load_scorer;"
        "folder = pathlib.Path(sys.argv[1]); sample = json.loads((folder / 'sample.json').read_bytes());"
        "rows = [dict(zip(sample['columns'], values)) for values in sample['data']];"
        "scorer = load_scorer(folder); print(json.dumps(scorer.score(scorer.signature.check(rows)).to_json()))"
    )
    ran = subprocess.run([sys.executable, "-I", "-c", code, os.fspath(portable)], check=True, capture_output=True)
    got, expected = json.loads(ran.stdout), json.loads((portable / "expected.json").read_bytes())
    assert got["predictions"] == expected["predictions"]
    assert got["probabilities"] == [pytest.approx(row, abs=1e-9) for row in expected["probabilities"]]
