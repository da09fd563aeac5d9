"""What a user installs: a wheel built from the sdist, in an empty environment, on a machine without Node."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
SHARED = "data/data/share/jupyter"

pytestmark = [pytest.mark.road, pytest.mark.timeout(1200)]


def run(*command: object, cwd: Path, **environ: str) -> str:
    told = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-6000:] + told.stderr[-6000:]
    return told.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--installer", "uv", "--outdir", folder, ROOT, cwd=folder)
    return folder


def test_both_archives_hold_the_front_end_and_the_templates(built: Path) -> None:
    [wheel], [sdist] = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    shared = f"{wheel.name.split('-py3')[0]}.{SHARED}"
    assert f"{shared}/labextensions/mlnb/package.json" in in_wheel
    assert f"{shared}/nbconvert/templates/mlnb/conf.json" in in_wheel
    for name in ("mlnb/templates/service/service.py.template", "mlnb/templates/ci/mlnb.yml", "mlnb/py.typed"):
        assert name in in_wheel
        assert name in in_sdist
    assert {"mlnb/labextension/package.json", "mlnb/labextension/static/promotion.js"} <= in_sdist
    assert "mlnb/labextension/static/promotion.js" in in_wheel
    assert "mlnb/templates/report/conf.json" in in_sdist
    assert not any("node_modules" in name for name in in_sdist | in_wheel)


@pytest.mark.browser
def test_the_wheel_serves_a_browser_without_node(built: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=tmp_path)
    [wheel] = built.glob("*.whl")
    needed = [f"{wheel}[examples]", "httpx", "notebook", "playwright", "pytest", "pytest-timeout"]
    run(UV, "pip", "install", "--quiet", *needed, cwd=tmp_path, UV_PYTHON=str(venv / "bin/python"))
    tools = tmp_path / "bin"
    tools.mkdir()
    for folder in ("/bin", "/usr/bin", "/usr/local/bin", str(Path(shutil.which("chromium") or "/").parent)):
        for tool in Path(folder).iterdir():
            if (
                tool.name not in {"node", "nodejs", "npm", "npx", "python", "python3"}
                and not (tools / tool.name).exists()
            ):
                (tools / tool.name).symlink_to(tool)
    path = f"{venv / 'bin'}:{tools}"
    assert shutil.which("node", path=path) is None
    told = run(
        venv / "bin/pytest", "--rootdir", ROOT, "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider",
        ROOT / "tests/e2e/first_pipeline.py", cwd=tmp_path, PATH=path, VIRTUAL_ENV=str(venv),
        PYTHONSAFEPATH="1",
    )  # fmt: skip
    assert "1 passed" in told
    where = run(venv / "bin/python", "-c", "import mlnb; print(mlnb.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(venv)
