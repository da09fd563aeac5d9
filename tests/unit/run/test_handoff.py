from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from mlnb.errors import HandoffError, UntrustedError
from mlnb.run.handoff import give, run_tests, take
from mlnb.run.spec import CaseCell, Result, Spec
from mlnb.store.artifact import Artifact
from mlnb.store.codec import encode
from mlnb.store.codecs.objects import prefer_definitions
from mlnb.store.files import FileStore
from mlnb.store.manifest import read_json, write_json


@pytest.fixture(autouse=True)
def own_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    yield
    prefer_definitions(None)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "artifacts")


def spec_file(
    folder: Path,
    inputs: tuple[Artifact, ...] = (),
    takers: Mapping[str, tuple[str, ...]] | None = None,
    tests: tuple[CaseCell, ...] = (),
) -> str:
    spec = Spec(str(folder / "artifacts"), "train", "sha256:key", inputs, takers or {}, tests, str(folder / "r.json"))
    write_json(folder / "spec.json", spec.to_json())
    assert Spec.from_json(read_json(folder / "spec.json")) == spec
    return str(folder / "spec.json")


def answer(folder: Path) -> Result:
    return Result.from_json(read_json(folder / "r.json"))


def test_what_one_stage_gives_the_next_takes(tmp_path: Path, store: FileStore) -> None:
    frame = pd.DataFrame({"delay": [1.5, None]})
    spec = spec_file(tmp_path, takers={"frame": ("stage 'b'",), "limit": ("stage 'b'",)})
    give(spec, {"frame": frame, "limit": 15, "left": object()})
    given = answer(tmp_path).artifacts
    assert [artifact.name for artifact in given] == ["frame", "limit"]
    taken = take(spec_file(tmp_path, given))
    pd.testing.assert_frame_equal(taken["frame"], frame)
    assert taken["limit"] == 15


def test_a_value_that_cannot_travel_is_named_with_who_gives_and_who_takes(tmp_path: Path) -> None:
    spec = spec_file(tmp_path, takers={"guard": ("stage 'evaluate'", "deploy 'delays'")})
    with pytest.raises(HandoffError) as caught:
        give(spec, {"guard": threading.Lock()})
    assert caught.value.problem.startswith(
        "The variable 'guard' of type _thread.lock, which stage 'train' gives and stage 'evaluate', deploy 'delays' "
        "takes, cannot be stored: pickle: TypeError: cannot pickle"
    )
    assert (answer(tmp_path).ename, answer(tmp_path).problem) == ("HandoffError", caught.value.problem)
    assert answer(tmp_path).artifacts == ()


def test_a_name_that_was_not_bound_is_named(tmp_path: Path) -> None:
    with pytest.raises(HandoffError, match="ended without a variable 'model', which stage 'evaluate' takes"):
        give(spec_file(tmp_path, takers={"model": ("stage 'evaluate'",)}), {})
    assert answer(tmp_path).remedy.startswith("Bind it on every path")


def test_an_input_that_was_changed_but_not_given_is_noticed(tmp_path: Path, store: FileStore) -> None:
    artifacts = (
        encode("frame", pd.DataFrame({"a": [1, 2]}), store, ""),
        encode("array", np.arange(3), store, ""),
        encode("items", [1, 2], store, ""),
        encode("untouched", {"a": 1.5}, store, ""),
        encode("given", [1], store, ""),
    )
    spec = spec_file(tmp_path, artifacts, {"given": ()})
    namespace = take(spec)
    namespace["frame"]["b"] = 1  # type: ignore[index]
    namespace["array"][0] = 9  # type: ignore[index]
    namespace["items"].append(object())  # type: ignore[attr-defined]
    namespace["given"].append(2)  # type: ignore[attr-defined]
    namespace["untouched"] = "bound anew, which changes no value"
    give(spec, namespace)
    assert answer(tmp_path).warnings == tuple(
        f"Stage 'train' changed '{name}' without giving it: later stages see the value from before."
        for name in ("frame", "array", "items")
    )


def test_a_change_inside_what_is_pickled_or_large_is_noticed_too(tmp_path: Path, store: FileStore) -> None:
    rows = np.random.default_rng(0).normal(size=(20_000, 2))
    model = LogisticRegression().fit(rows, rows[:, 0] > 0)
    values: dict[str, object] = {
        "model": model,
        "counts": Counter("ab"),
        "table": pd.DataFrame(rows),
        "seen": Counter("ab"),
    }
    namespace = take(spec_file(tmp_path, tuple(encode(name, value, store, "") for name, value in values.items())))
    namespace["model"].fit(rows, rows[:, 1] > 0)  # type: ignore[attr-defined]
    namespace["counts"].update("c")  # type: ignore[attr-defined]
    namespace["table"].iloc[19_999, 1] = 0.0  # type: ignore[attr-defined]
    namespace["seen"].most_common(1)  # type: ignore[attr-defined]
    give(spec_file(tmp_path), namespace)
    assert [warning.split("'")[3] for warning in answer(tmp_path).warnings] == ["model", "counts", "table"]


def test_a_value_that_the_stage_lets_go_is_freed(tmp_path: Path, store: FileStore) -> None:
    spec = spec_file(tmp_path, (encode("frame", pd.DataFrame({"a": [1, 2]}), store, ""),))
    namespace = take(spec)
    gone = weakref.ref(namespace["frame"])
    namespace["frame"] = namespace["frame"].iloc[:1].copy()  # type: ignore[attr-defined]
    assert gone() is None
    give(spec, namespace)
    assert answer(tmp_path).warnings == ()


def test_inputs_are_read_whole_where_the_run_says_verify(tmp_path: Path, store: FileStore) -> None:
    artifact = encode("array", np.arange(500_000), store, "")
    plain = spec_file(tmp_path, (artifact,))
    before = bytes_read()
    take(plain)
    assert bytes_read() - before < 100_000
    fields = json.loads(Path(plain).read_text())
    Path(plain).write_text(json.dumps({**fields, "verify": True}))
    take(plain)
    assert bytes_read() - before >= artifact.size_bytes


def bytes_read() -> int:
    """Return how many bytes this process has read so far, as the operating system counts them."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_an_untrusted_value_is_told_to_the_engine(tmp_path: Path, store: FileStore) -> None:
    digest, size = store.put(b"mlnbpkl1 whatever")
    with pytest.raises(UntrustedError):
        take(spec_file(tmp_path, (Artifact("model", "pickle", digest, size, "", "Model"),)))
    assert answer(tmp_path).ename == "UntrustedError"
    assert "can execute code" in answer(tmp_path).problem


def test_each_test_function_is_a_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, object] = {}
    source = textwrap.dedent(
        """
        def test_good():
            assert 1 + 1 == 2
        def test_bad():
            value = 1
            assert value == 2, "not two"
        def test_takes(argument):
            raise SystemExit
        async def test_waits():
            assert False
        def test_exits():
            raise SystemExit(3)
        """
    )
    exec(compile(source, "<cell>", "exec"), namespace)
    names = ("test_good", "test_bad", "test_takes", "test_waits", "test_exits", "test_absent")
    run_tests(spec_file(tmp_path, tests=(CaseCell(12, 3, names),)), namespace)
    cases = {case.name: case for case in answer(tmp_path).cases}
    assert [case.state for case in cases.values()] == ["passed", *["failed"] * 5]
    assert cases["test_bad"].message.startswith("AssertionError: not two (line 8")
    assert "must be a plain function without arguments" in cases["test_takes"].message
    assert "must be a plain function without arguments" in cases["test_waits"].message
    assert cases["test_exits"].message.startswith("SystemExit: 3")
    assert cases["test_absent"].message == "test_absent was not defined: cell 12 failed before it."
    assert {case.cell for case in cases.values()} == {12}
    assert "passed: test_good" in capsys.readouterr().out


DEFINE = """
import sys
from pathlib import Path
from mlnb.run.handoff import give, take

class Box:
    def __init__(self, held):
        self.held = held

def double(n):
    return 2 * n
"""


def test_an_object_of_a_setup_class_is_of_that_class_in_the_next_stage(tmp_path: Path) -> None:
    give_all = "give(sys.argv[1], {'box': Box(3), 'pair': (Box, double)})"
    first = spec_file(tmp_path, takers={"box": (), "pair": ()})
    subprocess.run([sys.executable, "-c", DEFINE + give_all, first], check=True)
    second = spec_file(tmp_path, answer(tmp_path).artifacts)
    check = "taken = take(sys.argv[1])\nassert type(taken['box']) is Box and taken['pair'] == (Box, double)"
    subprocess.run([sys.executable, "-c", DEFINE + check, second], check=True)
    alone = "import sys\nfrom mlnb.run.handoff import take\ntaken = take(sys.argv[1])\n"
    alone += "assert taken['box'].held == 3 and taken['pair'][1](4) == 8"
    subprocess.run([sys.executable, "-c", alone, second], check=True)
