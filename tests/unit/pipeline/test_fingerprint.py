"""The key of a stage changes with what its result depends on, and with nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.pipeline.fingerprint import Fingerprints, Key, changed_parts, fingerprint
from mlnb.pipeline.parameters import read_values
from mlnb.store.digests import RACY_NS, FileDigests

Write = Callable[..., Path]

BASE = [
    "import json\nimport numpy as np\nimport helper",
    ("n: int = 3\npath = 'rows.csv'\nunused = 1", ["parameters"]),
    "np.random.seed(0)",
    "LIMIT = 10\nOTHER = 20\ndef cut(x):\n    return x[:LIMIT]\ndef untouched():\n    return OTHER",
    "%%stage load\nrows = [n, np.pi]",
    "%%stage use --metrics total\ntext = open(path).read()\ntotal = len(cut(rows)) + helper.one()",
]


@pytest.fixture
def key(write: Write, tmp_path: Path) -> Callable[..., Key]:
    """Return the key of stage `use` of the base notebook with some cells changed."""
    (tmp_path / "rows.csv").write_text("a,b\n", "utf-8")
    (tmp_path / "helper.py").write_text("import deeper\ndef one():\n    return deeper.two()\n", "utf-8")
    (tmp_path / "deeper.py").write_text("def two():\n    return 2\n", "utf-8")

    def make(changes: dict[int, object] | None = None, values: tuple[str, ...] = (), inputs: str = "sha256:1") -> Key:
        cells = [(changes or {}).get(number, cell) for number, cell in enumerate(BASE)]
        pipeline = build_pipeline(read_document(write(*cells)))
        stage = pipeline.stage("use")
        read = read_values(pipeline.parameters, values)
        return fingerprint(pipeline, stage, read, {"rows": inputs}, root=tmp_path)

    return make


USE = BASE[5]
SETUP = BASE[3]


@pytest.mark.parametrize(
    "changes",
    [
        {5: f"{USE}   # a remark"},
        {5: str(USE).replace("text =", "\n\n# why\ntext  =")},
        {5: str(USE).replace("%%stage use --metrics total", "#| stage: use\n#| metrics: total")},
        {5: str(USE).replace("--metrics total\n", "--metrics total\n%%time\n")},
        {5: str(USE).replace("open(path)", "(open)( path )")},
        {3: str(SETUP).replace("OTHER = 20", "OTHER = 30")},
        {3: str(SETUP).replace("return OTHER", "return OTHER + 1")},
        {3: str(SETUP).replace("def cut(x):", "def cut(x):  # cut it")},
        {4: "%%stage load\nrows = [n, 1]"},
        {0: "import json as other\nimport numpy as np\nimport helper"},
        {1: ("# defaults\nn: int = 3\npath = 'rows.csv'\nunused = 99", ["parameters"])},
        {1: ("n: int = 8\npath = 'rows.csv'\nunused = 1", ["parameters"])},
    ],
)
def test_what_does_not_matter_leaves_the_key(key: Callable[..., Key], changes: dict[int, object]) -> None:
    assert key(changes) == key()


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({5: str(USE).replace("+ helper", "- helper")}, {"code"}),
        ({5: str(USE).replace("text =", "texts =")}, {"code"}),
        ({3: str(SETUP).replace("LIMIT = 10", "LIMIT = 11")}, {"setup"}),
        ({3: str(SETUP).replace("x[:LIMIT]", "x[LIMIT:]")}, {"setup"}),
        ({2: "np.random.seed(1)"}, {"setup"}),
        (
            {0: "import json\nimport numpy as np\nimport helper\nimport warnings\nwarnings.simplefilter('error')"},
            {"setup"},
        ),
        ({5: str(USE).replace("--metrics total", "--metrics total,text")}, {"outputs"}),
        ({1: ("n: int = 3\npath = 'other.csv'\nunused = 1", ["parameters"])}, {"parameters", "files"}),
        ({5: str(USE).replace("total = len", "import pandas\ntotal = len")}, {"code", "distributions"}),
    ],
)
def test_what_matters_changes_its_part_of_the_key(
    key: Callable[..., Key], changes: dict[int, object], parts: set[str]
) -> None:
    before, after = key(), key(changes)
    assert before.digest != after.digest
    assert set(changed_parts(before.parts, after.parts)) == parts


def test_values_inputs_modules_and_files_are_parts(key: Callable[..., Key], tmp_path: Path) -> None:
    before = key()
    assert changed_parts(before.parts, key(inputs="sha256:2").parts) == ("inputs",)
    assert changed_parts(before.parts, key(values=("path=no.csv",)).parts) == ("parameters", "files")
    assert changed_parts(before.parts, key(values=("n=9", "unused=5")).parts) == ()
    (tmp_path / "deeper.py").write_text("# a remark\ndef two():\n\n    return 2\n", "utf-8")
    assert key() == before
    (tmp_path / "deeper.py").write_text("def two():\n    return 3\n", "utf-8")
    changed = key()
    assert changed_parts(before.parts, changed.parts) == ("modules",)
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n", "utf-8")
    assert changed_parts(changed.parts, key().parts) == ("files",)


def test_the_parts_can_be_read(key: Callable[..., Key], tmp_path: Path) -> None:
    parts = key().parts
    names = ["code", "setup", "parameters", "inputs", "modules", "distributions", "files", "env", "writes", "outputs"]
    assert list(parts) == names
    assert json.loads(parts["parameters"]) == {"path": "rows.csv"}
    assert json.loads(parts["inputs"]) == {"rows": "sha256:1"}
    assert list(json.loads(parts["modules"])) == ["deeper.py", "helper.py"]
    assert json.loads(parts["distributions"]) == {
        "numpy": version("numpy"),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    digest = hashlib.sha256((tmp_path / "rows.csv").read_bytes()).hexdigest()
    assert json.loads(parts["files"]) == {"rows.csv": f"sha256:{digest}"}
    assert json.loads(parts["outputs"]) == ["total"]
    assert key().digest.startswith("sha256:")


def test_what_helpers_read_counts_where_the_stage_can_reach_it(write: Write, tmp_path: Path) -> None:
    (tmp_path / "lib/data").mkdir(parents=True)
    (tmp_path / "lib/__init__.py").write_text("from . import tables\n", "utf-8")
    (tmp_path / "lib/tables.py").write_text(
        "from pathlib import Path\nHERE = Path(__file__).parent / 'data'\n"
        "def used():\n    return inner()\ndef inner():\n    return open(HERE / 'used.csv')\n"
        "def other():\n    return open(HERE / 'other.csv')\n",
        "utf-8",
    )
    for name in ("used", "other"):
        (tmp_path / f"lib/data/{name}.csv").write_text(name, "utf-8")
    path = write("%%stage a\nfrom lib import tables\nx = tables.used()", "%%stage b\nimport lib\nlib.tables.other()")
    pipeline = build_pipeline(read_document(path))
    prints = Fingerprints(pipeline, {}, root=tmp_path)
    files = {stage.name: list(json.loads(prints.key(stage, {}).parts["files"])) for stage in pipeline.stages}
    assert files == {"a": ["lib/data/used.csv"], "b": ["lib/data/other.csv"]}


def test_declared_data_and_variables_are_parts_and_values_stay_secret(write: Write, tmp_path: Path) -> None:
    path = write("%%stage a --reads 'rows/*.csv' --env REGION,TOKEN\nx = 1")
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/1.csv").write_text("1", "utf-8")
    pipeline = build_pipeline(read_document(path))

    def key(**environ: str) -> Key:
        return Fingerprints(pipeline, {}, root=tmp_path, environ=environ).key(pipeline.stages[0], {})

    first = key(REGION="eu", TOKEN="hunter2")
    assert key(REGION="eu", TOKEN="hunter2", OTHER="1") == first
    assert changed_parts(first.parts, key(REGION="us", TOKEN="hunter2").parts) == ("env",)
    assert key(REGION="", TOKEN="x").parts["env"] != key(TOKEN="x").parts["env"]
    plain = [hashlib.sha256(text).hexdigest() for text in (b"hunter2", b"TOKEN=hunter2")]
    assert not any(text in json.dumps(dict(first.parts)) for text in ("hunter2", *plain))
    (tmp_path / "rows/2.csv").write_text("2", "utf-8")
    assert changed_parts(first.parts, key(REGION="eu", TOKEN="hunter2").parts) == ("files",)


def test_a_comment_declares_as_the_magic_does(write: Write) -> None:
    stages = [
        build_pipeline(read_document(write(source))).stages[0]
        for source in ("%%stage a --reads x.csv,y.csv --env B\n1", "#| stage: a\n#| reads: x.csv, y.csv\n#| env: B\n1")
    ]
    assert [(stage.reads, stage.env) for stage in stages] == [(("x.csv", "y.csv"), ("B",))] * 2


def test_a_large_file_is_read_once_while_its_stamp_stays(tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(b"x" * 2_000_000)
    os.utime(large, (1_000_000_000, 1_000_000_000))
    later = time.time_ns() + 10 * RACY_NS
    digests = FileDigests(tmp_path / "digests.json", clock=lambda: later)
    assert (digests.sha256(large), digests.read_bytes) == (digests.sha256(large), 2_000_000)
    again = FileDigests(tmp_path / "digests.json", clock=lambda: later)
    assert (again.sha256(large), again.read_bytes) == (digests.sha256(large), 0)
    with large.open("r+b") as file:
        file.write(b"y" * 2_000_000)
    os.utime(large, (1_000_000_000, 1_000_000_000))  # the same size, inode and time of modification
    assert again.sha256(large) == f"sha256:{hashlib.sha256(b'y' * 2_000_000).hexdigest()}"


def test_a_file_that_changed_just_before_it_was_read_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"x" * 2_000_000)
    digests = FileDigests(tmp_path / "digests.json")
    digests.sha256(file)
    digests.sha256(file)
    assert digests.read_bytes == 4_000_000
    assert not (tmp_path / "digests.json").exists()
    (tmp_path / "digests.json").write_text("{", "utf-8")
    assert FileDigests(tmp_path / "digests.json").sha256(file) == digests.sha256(file)


def test_a_working_copy_counts_by_its_sources(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "workcopy").mkdir(parents=True)
    (elsewhere / "workcopy-1.0.dist-info").mkdir()
    (elsewhere / "workcopy-1.0.dist-info/METADATA").write_text("Name: workcopy\nVersion: 1.0\n", "utf-8")
    (elsewhere / "workcopy-1.0.dist-info/direct_url.json").write_text('{"dir_info": {"editable": true}}', "utf-8")
    (elsewhere / "workcopy/__init__.py").write_text("from .deep import x\n", "utf-8")
    (elsewhere / "workcopy/deep.py").write_text("x = 1\n", "utf-8")
    monkeypatch.syspath_prepend(str(elsewhere))
    (tmp_path / "nb").mkdir()
    pipeline = build_pipeline(read_document(write("%%stage a\nimport workcopy\nx = 1", name="nb/nb.ipynb")))
    before = fingerprint(pipeline, pipeline.stages[0], {}, {}, root=tmp_path / "nb")
    assert json.loads(before.parts["distributions"])["workcopy"] == "1.0"
    (elsewhere / "workcopy/deep.py").write_text("x = 2\n", "utf-8")
    after = fingerprint(pipeline, pipeline.stages[0], {}, {}, root=tmp_path / "nb")
    assert changed_parts(before.parts, after.parts) == ("modules",)


def test_another_folder_makes_no_other_key(write: Write, tmp_path: Path) -> None:
    keys = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "helper.py").write_text("x = 1\n", "utf-8")
        (folder / "a.csv").write_text("x\n", "utf-8")
        path = write("%%stage a\nimport helper\nopen('a.csv')", name=f"{name}/nb.ipynb")
        pipeline = build_pipeline(read_document(path))
        keys.append(fingerprint(pipeline, pipeline.stages[0], {}, {}, root=folder))
    assert keys[0] == keys[1]


def test_a_test_and_a_stage_of_the_same_code_have_different_keys(write: Write) -> None:
    pipeline = build_pipeline(read_document(write("%%stage a\nassert 1", "%%test a\nassert 1")))
    one, other = (fingerprint(pipeline, stage, {}, {}) for stage in pipeline.stages)
    assert set(changed_parts(one.parts, other.parts)) == {"code"}


_LINES = [
    "rows = [1, 2, 3]",
    "if json:\n    total = sum([1])\nelse:\n    total = 0",
    "def f(x):\n    '''doc'''\n    return x + 1",
    "text = '''a\n# no comment\n\nb'''",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(_LINES), min_size=1, max_size=4), st.data())
def test_comments_and_blank_lines_between_statements_never_change_a_key(
    write: Write, statements: list[str], data: st.DataObject
) -> None:
    noise = st.sampled_from(["", "# remark", "   ", "\n\n# two\n"])
    plain = "%%stage a\nimport json\n" + "\n".join(statements)
    noisy = "%%stage a\nimport json\n" + "\n".join(
        f"{data.draw(noise)}\n{statement}  # end" for statement in statements
    )
    keys = []
    for source in (plain, noisy):
        pipeline = build_pipeline(read_document(write(source)))
        keys.append(fingerprint(pipeline, pipeline.stages[0], {}, {}))
    assert keys[0] == keys[1]
