from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest

from mlnb.run.fault import fault_of
from mlnb.run.kernels.job import Execution, Job
from mlnb.run.kernels.open import Kernels, open_kernels
from mlnb.run.kernels.warm import lent, let_go
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

EVERY_KIND = pytest.mark.parametrize("how", ["fork", "pool", "spawn"])
EXECUTE = """
import sys
from pathlib import Path
from mlnb.run.kernels.job import Job
from mlnb.run.kernels.open import open_kernels
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder
how, path = sys.argv[1], Path(sys.argv[2])
with open_kernels(how, StateFolder.open(path.parent), Settings()) as kernels:
    kernels.execute(Job(path, path.parent, {}), lambda number: None)
"""

Write = Callable[..., Path]


def stdout_of(execution: Execution) -> str:
    outputs = [output for cell in execution.notebook["cells"] for output in cell.get("outputs", [])]  # type: ignore
    return "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")


def gone(pid: int) -> bool:
    """Wait until a process has ended."""
    if not psutil.pid_exists(pid):
        return True
    try:
        return psutil.wait_procs([psutil.Process(pid)], timeout=20)[1] == []
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """Make this process one that has inherited the end of a live kernel, as a run of `%mlnb` has."""

    @contextmanager
    def inherited() -> Iterator[None]:
        with lent() as (variables, _), monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            yield

    return inherited


@pytest.fixture(autouse=True)
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let sockets' folders be made in a folder of the test's own, and find none there afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="t-"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    let_go()
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or ()):
            psutil.wait_procs([process], timeout=20)  # a zygote whose last user has just gone
    tempfile.tempdir = None
    folder.rmdir()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[str], Kernels]]:
    """Return a function that opens kernels of a kind for the project in `tmp_path`; all are closed at the end."""
    made: list[Kernels] = []

    def make(how: str) -> Kernels:
        made.append(open_kernels(how, StateFolder.open(tmp_path), Settings()))
        return made[-1]

    yield make
    for kernels in made:
        kernels.close()


@pytest.fixture
def run(tmp_path: Path, opened: Callable[[str], Kernels], write_notebook: Write, cell) -> Callable[..., Execution]:
    """Return a function that executes sources as cells 1, 2, ... in a fresh kernel of a kind."""

    def executed(how: str, *sources: str, modules: tuple[str, ...] = (), seed: int = 0) -> Execution:
        path = write_notebook(*(cell(source, number) for number, source in enumerate(sources, 1)), name="run.ipynb")
        with opened(how) as kernels:
            kernels.prepare(modules)
            return kernels.execute(Job(path, tmp_path, {}, seed=seed), lambda number: None)

    return executed


@EVERY_KIND
def test_a_notebook_runs_in_a_fresh_python_of_its_own(
    how: str, tmp_path: Path, write_notebook: Write, cell, opened: Callable[[str], Kernels]
) -> None:
    braces = tmp_path / "with {braces}"
    braces.mkdir()
    path = write_notebook(
        cell("month = 1", 1, "parameters", 1, "parameters"),
        cell("import os, sys, hashlib", 2, "setup"),
        cell("print(month, os.getcwd(), sys.executable, os.environ['PYTHONHASHSEED'])", 0, "take"),
        cell("def f():\n    return 1\nprint(f.__code__.co_filename, os.getpid(), os.getpgid(0) == os.getpid())", 4),
        name="with {braces}/stage.ipynb",
    )
    told: list[int] = []
    execution = opened(how).execute(Job(path, braces, {"month": {"a": [None, True, 1.5]}}), told.append)
    assert told == [1, 2, 4]
    assert execution.crash == ""
    words = stdout_of(execution).splitlines()
    assert words[0] == f"{{'a': [None, True, 1.5]}} {braces} {sys.executable} 0"
    name, pid, leader = words[1].split()
    assert name.startswith("<mlnb-cell-")
    assert pid not in name
    assert leader == "True"
    assert not psutil.pid_exists(int(pid))
    assert json.loads(path.read_text()) == execution.notebook


@EVERY_KIND
def test_a_kernel_that_is_killed_is_told_with_the_signal_and_leaves_nothing(
    how: str, run: Callable[..., Execution]
) -> None:
    execution = run(
        how,
        "import subprocess\nprint(subprocess.Popen(['sleep', '600']).pid)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    )
    assert gone(int(stdout_of(execution)))
    assert execution.crash == "its kernel died (SIGKILL)"
    fault = fault_of("train", execution, None)
    assert fault is not None
    assert fault.problem == "Stage 'train' was ended in cell 2: its kernel died (SIGKILL)."
    assert fault.cell == 2


@pytest.mark.parametrize("how", ["fork", "pool"])
def test_the_last_words_of_a_kernel_that_ends_itself_are_told(how: str, run: Callable[..., Execution]) -> None:
    execution = run(how, "import os, sys\nprint('Farewell', file=sys.__stderr__, flush=True)\nos._exit(3)")
    assert execution.crash == "its kernel died (exit code 3): Farewell"


def test_a_cell_that_runs_too_long_is_ended_with_all_that_it_started(
    tmp_path: Path, write_notebook: Write, cell, opened: Callable[[str], Kernels]
) -> None:
    path = write_notebook(
        cell(
            "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\nopen('pid', 'w').write(str(child.pid))", 1
        ),
        cell("import time\ntime.sleep(600)", 2),
    )
    execution = opened("fork").execute(Job(path, tmp_path, {}, timeout_s=1), lambda number: None)
    assert execution.crash == "it ran longer than 1 s (the setting stage_timeout_s)"
    assert gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    ("how", "end"),
    [("fork", signal.SIGINT), ("fork", signal.SIGKILL), ("spawn", signal.SIGKILL)],
    ids=["fork, Ctrl-C", "fork, kill -9", "spawn, kill -9"],
)
def test_the_kernel_goes_with_who_started_it(
    how: str, tmp_path: Path, write_notebook: Write, cell, end: signal.Signals, sockets: Path, run
) -> None:
    os.mkfifo(tmp_path / "pids")
    path = write_notebook(
        cell("import os, subprocess, time\nchild = subprocess.Popen(['sleep', '600'])", 1),
        cell("with open('pids', 'w') as file:\n    print(os.getpid(), child.pid, file=file)\ntime.sleep(600)", 2),
    )
    runner = subprocess.Popen([sys.executable, "-c", EXECUTE, how, str(path)], stderr=subprocess.PIPE, text=True)
    kernel, child = map(int, (tmp_path / "pids").read_text().split())
    runner.send_signal(end)
    said = runner.communicate()[1]
    assert gone(kernel)
    if how == "fork" or end == signal.SIGINT:
        assert gone(child)
    else:  # nobody is left to end it: the reference has that weakness
        os.kill(child, signal.SIGKILL)
    if end == signal.SIGINT:
        assert said.strip().endswith("KeyboardInterrupt")
    else:
        assert stdout_of(run("spawn", "print('swept')")) == "swept\n"
    assert not list(sockets.rglob("k-*"))


def test_a_zygote_that_is_killed_takes_its_kernels_along_and_the_next_run_starts_another(
    run: Callable[..., Execution],
) -> None:
    execution = run(
        "fork",
        "import os, signal, subprocess, time\nchild = subprocess.Popen(['sleep', '600'])",
        "print(child.pid, os.getpid(), flush=True)",
        "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(600)",
    )
    child, kernel = map(int, stdout_of(execution).split())
    assert execution.crash == "its kernel died (SIGKILL)"
    assert gone(kernel)
    assert gone(child)
    assert stdout_of(run("fork", "print('again')")) == "again\n"


def test_cancelling_interrupts_what_runs_and_kills_what_does_not_listen(
    tmp_path: Path, write_notebook: Write, cell, opened: Callable[[str], Kernels]
) -> None:
    kernels = opened("fork")
    stubborn = (
        "import time\nwhile True:\n    try:\n        time.sleep(600)\n    except KeyboardInterrupt:\n        pass"
    )
    found: dict[str, Execution] = {}
    running = threading.Barrier(3)

    def execute(name: str, source: str) -> None:
        path = write_notebook(cell("1", 1), cell(source, 2), name=f"{name}.ipynb")

        def told(number: int) -> None:
            if number == 2:
                running.wait(60)

        found[name] = kernels.execute(Job(path, tmp_path, {}), told)

    threads = [
        threading.Thread(target=execute, args=("good", "import time\ntime.sleep(600)")),
        threading.Thread(target=execute, args=("stubborn", stubborn)),
    ]
    for thread in threads:
        thread.start()
    running.wait(60)
    kernels.cancel()
    for thread in threads:
        thread.join(60)
    assert {name: execution.crash for name, execution in found.items()} == {
        "good": "it was cancelled",
        "stubborn": "it was cancelled",
    }
    later = write_notebook(cell("1", 1), name="later.ipynb")
    assert kernels.execute(Job(later, tmp_path, {}), lambda number: None).crash == "it was cancelled"


def test_a_long_temporary_path_does_not_break_the_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Execution]
) -> None:
    deep = tmp_path / ("long" * 30)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    assert stdout_of(run("spawn", "print('ran')")) == "ran\n"
    assert list(deep.iterdir()) == []


def test_two_runs_of_a_project_at_once_share_a_zygote(tmp_path: Path, write_notebook: Write, cell) -> None:
    source = "import os\nprint(os.getppid())\nopen('{0}-ready', 'w').close()\nopen('{0}-go').read()"
    paths, runners = [], []
    for name in ("a", "b"):
        os.mkfifo(tmp_path / f"{name}-ready")
        os.mkfifo(tmp_path / f"{name}-go")
        paths.append(write_notebook(cell(source.format(name), 1), name=f"{name}.ipynb"))
        runners.append(subprocess.Popen([sys.executable, "-c", EXECUTE, "fork", str(paths[-1])]))
    for name in ("a-ready", "b-ready"):
        (tmp_path / name).read_text()
    for name in ("a-go", "b-go"):
        (tmp_path / name).write_text("")
    assert [runner.wait(60) for runner in runners] == [0, 0]
    parents = {"".join(json.loads(path.read_text())["cells"][0]["outputs"][0]["text"]) for path in paths}
    assert len(parents) == 1


def test_a_live_process_keeps_the_zygote_for_its_next_run(
    kept: Callable[[], AbstractContextManager[None]], run: Callable[..., Execution]
) -> None:
    source = "import os, sys\nprint(os.getppid(), 'sqlite3.dump' in sys.modules, '_MLNB_OWNER' in os.environ)"
    outputs = []
    for _ in range(2):
        with kept():
            outputs.append(stdout_of(run("fork", source, modules=("sqlite3.dump",))))
    first, second = outputs
    assert first == second
    assert second.endswith(" True False\n")
    zygote = int(second.split()[0])
    assert psutil.pid_exists(zygote)
    let_go()
    assert gone(zygote)


def test_a_zygote_whose_environment_changed_is_replaced(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., Execution],
    kept: Callable[[], AbstractContextManager[None]],
) -> None:
    beside = tmp_path.parent / f"{tmp_path.name}-editable"
    beside.mkdir()
    (beside / "an_editable_module.py").write_text("VALUE = 1\n")
    monkeypatch.setenv("PYTHONPATH", str(beside))
    source = "import sys\nloaded = 'an_editable_module' in sys.modules\nimport an_editable_module\n"
    source += "print(loaded, an_editable_module.VALUE)"
    with kept():
        assert stdout_of(run("fork", source, modules=("an_editable_module",))) == "True 1\n"
    (beside / "an_editable_module.py").write_text("VALUE = 1000\n")
    with kept():
        assert stdout_of(run("fork", source, modules=("an_editable_module",))) == "True 1000\n"


SEES_THE_NEXT = """
import os, psutil, time
while len(waiting := {child.pid for child in psutil.Process(os.getppid()).children()} - {os.getpid()}) == 0:
    time.sleep(0.01)
print(*waiting)"""


@pytest.mark.parametrize("happens", ["nothing", "it is killed", "a source changed", "another folder is wanted"])
def test_the_next_kernel_of_a_run_waits_for_its_notebook_unless_it_is_not_what_one_would_be_now(
    happens: str,
    tmp_path: Path,
    write_notebook: Write,
    cell,
    opened: Callable[[str], Kernels],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beside = tmp_path.parent / f"{tmp_path.name}-ahead"
    beside.mkdir()
    (beside / "a_module_ahead.py").write_text("VALUE = 1\n")
    monkeypatch.setenv("PYTHONPATH", str(beside))
    paths = [
        write_notebook(cell(source, 1), name=f"{number}.ipynb")
        for number, source in enumerate(
            (SEES_THE_NEXT, "import os, a_module_ahead\nprint(os.getpid(), a_module_ahead.VALUE)")
        )
    ]
    with opened("fork") as kernels:
        kernels.prepare(("a_module_ahead", "psutil"))
        first = kernels.execute(Job(paths[0], tmp_path, {}, more=True), lambda number: None)
        waiting = int(stdout_of(first))
        assert psutil.pid_exists(waiting)
        if happens == "it is killed":
            os.kill(waiting, signal.SIGKILL)
            assert gone(waiting)
        elif happens == "a source changed":
            (beside / "a_module_ahead.py").write_text("VALUE = 1000\n")
        folder = beside if happens == "another folder is wanted" else tmp_path
        second = kernels.execute(Job(paths[1], folder, {}), lambda number: None)
    assert second.crash == ""
    kernel, value = map(int, stdout_of(second).split())
    assert (kernel == waiting) == (happens == "nothing")
    assert value == (1000 if happens == "a source changed" else 1)
    assert gone(waiting)


def test_whatever_a_module_does_when_it_is_loaded_beforehand_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Execution]
) -> None:
    beside = tmp_path.parent / f"{tmp_path.name}-packages"
    beside.mkdir()
    (beside / "leaves.py").write_text("raise SystemExit(4)\n")
    (beside / "fails.py").write_text("1 / 0\n")
    (beside / "draws.py").write_text("import plotly\n")
    (tmp_path / "own.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", f"{beside}{os.pathsep}{tmp_path}")
    modules = ("no_such_module", "leaves", "fails", "draws", "own", "polars", "xml.dom.minidom.parse")
    names = "'own', 'draws', 'plotly', 'polars', 'xml.dom.minidom'"
    execution = run("fork", f"import sys\nprint([name in sys.modules for name in ({names})])", modules=modules)
    assert stdout_of(execution) == "[False, False, False, False, True]\n"


def test_where_a_module_starts_threads_kernels_come_from_a_pool_and_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Execution], capsys: pytest.CaptureFixture[str]
) -> None:
    beside = tmp_path.parent / f"{tmp_path.name}-threads"
    beside.mkdir()
    source = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    (beside / "threaded_module.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(beside))
    for _ in range(2):
        execution = run("fork", "import os\nprint(os.getppid())", modules=("threaded_module",))
        assert stdout_of(execution) == f"{os.getpid()}\n"
    said = "mlnb: Kernels are taken from a pool instead of forked: threaded_module starts threads when it is imported."
    assert capsys.readouterr().err == f"{said}\n"


def test_cuda_is_not_loaded_before_a_fork(run: Callable[..., Execution], capsys: pytest.CaptureFixture[str]) -> None:
    execution = run("fork", "import os\nprint(os.getppid())", modules=("torch.nn",))
    assert stdout_of(execution) == f"{os.getpid()}\n"
    assert capsys.readouterr().err == "mlnb: Kernels are taken from a pool instead of forked: torch may use CUDA.\n"


@pytest.mark.parametrize("how", ["fork", "pool"])
def test_what_a_kernel_leaves_to_its_end_is_done(how: str, tmp_path: Path, run: Callable[..., Execution]) -> None:
    run(
        how,
        "import atexit, threading, time\nlate = open('late', 'w')\nlate.write('unflushed')",
        "atexit.register(lambda: open('atexit', 'w').write('called'))",
        "class Last:\n    def __del__(self):\n        open('deleted', 'w').write('called')\nlast = Last()",
        "def work():\n    time.sleep(0.2)\n    open('thread', 'w').write('done')\nthreading.Thread(target=work).start()",
    )
    read = {name: (tmp_path / name).read_text() for name in ("late", "atexit", "deleted", "thread")}
    assert read == {"late": "unflushed", "atexit": "called", "deleted": "called", "thread": "done"}


def test_unseeded_chance_is_the_same_in_every_kernel_and_another_seed_changes_it(
    run: Callable[..., Execution],
) -> None:
    source = (
        "import random\nimport numpy as np\nprint(random.random(), np.random.rand(), hash('a'), list(set('abcdef')))"
    )
    said = {how: stdout_of(run(how, source, modules=("numpy",))) for how in ("fork", "pool", "spawn")}
    expected = "import random, numpy as np\nrandom.seed(0)\nnp.random.seed(0)\n" + source
    plain = subprocess.run(
        [sys.executable, "-c", expected], env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True
    )
    assert set(said.values()) == {plain.stdout}
    other = stdout_of(run("fork", source, modules=("numpy",), seed=7))
    assert all(mine != theirs for mine, theirs in zip(other.split()[:3], plain.stdout.split()[:3], strict=True))
