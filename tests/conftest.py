"""A home of its own for the whole session; after every test, no process and no listening port of ours remains."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

SESSION = uuid.uuid4().hex
HOME = Path(tempfile.mkdtemp(prefix="mlnb-home-"))
# What uv has fetched is shared with the machine: a session that fetched it anew would test the network.
os.environ.setdefault("UV_CACHE_DIR", str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uv"))
os.environ.update(
    {
        "MLNB_TEST_SESSION": SESSION,
        "HOME": str(HOME),
        "JUPYTER_DATA_DIR": str(HOME / "jupyter/data"),
        "JUPYTER_CONFIG_DIR": str(HOME / "jupyter/config"),
        "JUPYTER_RUNTIME_DIR": str(HOME / "jupyter/runtime"),
        "IPYTHONDIR": str(HOME / "ipython"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
)
if "PYTEST_XDIST_WORKER" not in os.environ:  # those inherit the folder: an environment is made once for all of them
    os.environ["XDG_CACHE_HOME"] = str(HOME / "cache")
_NAMING = ("MLNB_", "JPY_", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "JUPYTERHUB_USER")
for name in [name for name in os.environ if name.startswith(_NAMING) and name != "MLNB_TEST_SESSION"]:
    del os.environ[name]
LONG = (  # by the time that each takes
    *("/road/test_wheel", "/notebooks/test_live_traffic", "/road/test_road"),
    *("/unit/run/test_dask", "/unit/tune/test_study"),
    *("/e2e/test_pipeline_in_lab", "/unit/faces/test_live_verbs", "/tests/notebooks/", "/unit/faces/test_bad_input"),
    *("/tests/e2e/", "/unit/registry/test_everywhere"),
)
BEGUN = psutil.Process().create_time()
CI = os.environ.get("CI", "") not in {"", "0", "false"}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a browser, of images and of a server are skipped by name where its program is missing; never in CI.

    The longest files come first, so that no process is left with one of them when the others have ended.
    """
    items.sort(key=_place)
    debian = ":".join(["", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])  # where no path leads
    for marker, program in (("browser", "chromium"), ("image", "buildah"), ("postgres", "postgres")):
        if CI or shutil.which(program, path=os.environ.get("PATH", "") + debian):
            continue
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"{program} is not installed"))


def _place(item: pytest.Item) -> int:
    """Return where its file stands among the longest; behind them all where it is none of them."""
    path = item.path.as_posix()
    return next((place for place, part in enumerate(LONG) if part in path), len(LONG))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if CI and exitstatus == 0 and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure() -> None:
    """Take the session's home away."""
    shutil.rmtree(HOME, ignore_errors=True)


def ours() -> set[psutil.Process]:
    """Every other live process that descends from this session, detached ones included."""
    found = set()
    for process in psutil.process_iter():
        try:
            if process.create_time() < BEGUN:  # and therefore no child of ours: its environment need not be read
                continue
            if process.environ().get("MLNB_TEST_SESSION") == SESSION and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process)
        except psutil.Error:
            continue
    return found - {psutil.Process()}


def listening() -> set[int]:
    """Return the ports that this process itself listens on."""
    return {c.laddr.port for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN}


@pytest.fixture(autouse=True, scope="session")
def nothing_remains_in_the_end() -> Iterator[None]:
    """Fail where a process outlives all tests."""
    yield
    end_of(ours())


@pytest.fixture(autouse=True, scope="module")
def nothing_remains_of_a_module() -> Iterator[None]:
    """Fail a module that leaves a process behind."""
    before = ours()
    yield
    end_of(ours() - before, kept=bool(before))


@pytest.fixture(autouse=True)
def nothing_remains() -> Iterator[None]:
    """Fail a test that leaves a process, a port or a kernel's socket behind."""
    before, ports = ours(), listening()
    yield
    end_of(ours() - before, kept=bool(before))
    assert listening() <= ports, f"ports remain: {listening() - ports}"


def end_of(left: set[psutil.Process], *, kept: bool = False) -> None:
    """Fail where a process does not end; `kept`: a kernel or server of several tests may keep the zygote of its runs."""
    left = {process for process in left if not (kept and (_is_zygote(process) or _is_worker(process)))}
    _, alive = psutil.wait_procs(left, timeout=10)
    described = []
    for process in alive:
        try:
            described.append(f"{process.pid} {' '.join(process.cmdline())}")
            process.kill()
        except psutil.Error:
            continue
    assert not described, f"processes remain: {described}"


def _is_zygote(process: psutil.Process) -> bool:
    try:
        return "mlnb.run.kernels.zygote" in process.cmdline()
    except psutil.Error:
        return False


def _is_worker(process: psutil.Process) -> bool:
    """Say whether a service of several tests, which goes on, has replaced a worker by this one."""
    try:
        return "--worker" in process.cmdline() and "mlnb.service.serve" in process.parent().cmdline()
    except (psutil.Error, AttributeError):
        return False
