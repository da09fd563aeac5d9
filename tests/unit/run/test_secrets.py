"""A secret that a notebook uses is in no file that a run writes and in no word that it says."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlnb.errors import MlnbError, ParameterError, SecretError
from mlnb.run.secret import secret
from mlnb.settings import Settings
from mlnb.store.secret import look_up

TOKEN = "s3cr\"et/tok'en+42"
KEY = "K3y-for-the-f1le"

NOTEBOOK = """\
# %% tags=["parameters"]
mode = "done"

# %%
import logging, os, signal, subprocess, sys, threading, time, warnings
import base64, html, json, urllib.parse
from mlnb import secret

# %%
# %%stage speak
token, key = secret("API_TOKEN"), secret("file-key")
print(token, repr(token), json.dumps({"t": json.dumps(token)}), urllib.parse.quote(token, safe=""), html.escape(token))
print(base64.b64encode(f"user:{token}".encode()), token.encode(), token.encode().hex(), key)
for letter in token:
    print(letter, end="", flush=True)
    time.sleep(0.01)
sys.stdout.write(token[:5]); sys.stdout.flush(); sys.stdout.write(token[5:] + "\\n")
print(token, file=sys.stderr)
logging.getLogger().warning("log %s", token)
warnings.warn(token)
os.write(1, f"raw {token}\\n".encode())
!echo "shell $API_TOKEN"
subprocess.run(["sh", "-c", 'echo "process $API_TOKEN" >&2'])
thread = threading.Thread(target=print, args=(token,)); thread.start(); thread.join()
length = len(token)

# %%
#| stage: speak
class Shown:
    def _repr_mimebundle_(self, **_):
        return {"text/html": f"<b>{html.escape(token)}</b>", "text/plain": token, "application/json": {token: [token]}}
display(Shown(), metadata={"note": token})
import ipywidgets
display(ipywidgets.Text(value=token, description=key))
token

# %%
#| stage: speak
def inner(password):
    if mode == "failed":
        raise ValueError(f"refused: {password}")
    if mode == "crash":
        os.write(2, f"last words {password}".encode())
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGSEGV)
    if mode == "timeout":
        print("waiting", password, flush=True)
        time.sleep(100)
    return len(password)
count = inner(token)

# %%
#| stage: use
print(length + count)

# %%
#| test: speak
def test_it():
    assert not secret("API_TOKEN"), f"it is {secret('API_TOKEN')}"
"""


def _forms(value: str) -> list[bytes]:
    raw = value.encode()
    texts = {value, repr(value)[1:-1], json.dumps(value)[1:-1], urllib.parse.quote(value, safe=""), html.escape(value)}
    texts |= {base64.b64encode(raw).decode().rstrip("="), raw.hex(), json.dumps(json.dumps(value))[3:-3]}
    texts.add(base64.b64encode(b"user:" + raw).decode()[8:-4])
    return [form.encode() for form in texts] + [value.encode("utf-16-le"), value.encode("utf-32-le")]


def _leaks(folders: list[Path], said: dict[str, bytes]) -> list[str]:
    places = {str(path): path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    forms = [form for value in (TOKEN, KEY) for form in _forms(value)]
    return [f"{form!r} in {name}" for name, content in {**places, **said}.items() for form in forms if form in content]


def _said_before_mask(text: str) -> set[str]:
    return set(re.findall(r"(\w+) \[secret API_TOKEN\]", text))


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for everything temporary, with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="mlnb-t-", dir="/tmp") as folder:
        yield Path(folder)


def _run(project: Path, temporary: Path, *words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    variables = {**os.environ, "API_TOKEN": TOKEN, "MLNB_SECRETS_FOLDER": str(project / "keys"), **env}
    variables["TMPDIR"] = str(temporary)
    del variables["PYTEST_CURRENT_TEST"]  # ipykernel does not read file descriptors where it sees it
    return subprocess.run([sys.executable, "-m", "mlnb", *words], cwd=project, env=variables, capture_output=True)


@pytest.mark.parametrize("mode", ["done", "failed", "crash", "timeout"])
def test_no_file_and_no_word_of_a_run_holds_a_secret(tmp_path: Path, temporary: Path, mode: str) -> None:
    (tmp_path / "keys").mkdir()
    key = tmp_path / "keys" / "file-key"
    key.write_text(KEY + "\n")
    key.chmod(0o600)
    (tmp_path / "train.py").write_text(NOTEBOOK)
    out = tmp_path / "out"
    out.mkdir()
    words = ["run", "train.py", "-p", f"mode={mode}", "--html", "out/page.html", "--junitxml", "out/junit.xml"]
    env = {"MLNB_STAGE_TIMEOUT_S": "3"} if mode == "timeout" else {}
    ran = _run(tmp_path, temporary, *words, **env)
    said = {"stdout": ran.stdout, "stderr": ran.stderr}
    assert ran.returncode == 1  # the test fails in each mode, or its stage does
    text = (ran.stdout + ran.stderr).decode()
    if mode == "done":
        assert "[secret API_TOKEN]" in text
    assert b"[secret API_TOKEN]" in (out / "page.html").read_bytes()
    executed = next((tmp_path / ".mlnb" / "runs").iterdir()) / "train.ipynb"
    assert {"raw", "shell", "process", "log"} <= _said_before_mask(executed.read_text())
    if mode == "failed":
        shown = _run(tmp_path, temporary, "runs", "show", "last", "--json")
        said |= {"show": shown.stdout, "show errors": shown.stderr}
    assert _leaks([tmp_path / ".mlnb", out, temporary], said) == []
    expected = {"failed": "ValueError", "crash": "SIGSEGV", "timeout": "3 s"}
    assert expected.get(mode, "it is") in text


def test_a_value_that_holds_a_secret_is_not_handed_over(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "nb.py").write_text(
        "# %%\nfrom mlnb import secret\nimport numpy as np\n\n# %%\n#| stage: ask\n"
        "class Client:\n    pass\nclient = Client()\nclient.password = secret('API_TOKEN')\nname = 'x'\n\n"
        "# %%\n#| stage: use\nprint(client, name)\n"
    )
    ran = _run(tmp_path, temporary, "run", "nb.py")
    assert ran.returncode == 1
    assert (
        "The variable 'client' of stage 'ask' holds the secret 'API_TOKEN'" in ran.stderr.decode() + ran.stdout.decode()
    )
    assert _leaks([tmp_path / ".mlnb", temporary], {"stdout": ran.stdout, "stderr": ran.stderr}) == []


def test_a_parameter_that_equals_a_secret_is_refused_before_anything_runs(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "nb.py").write_text(
        "# %% tags=['parameters']\nword = 'x'\n\n# %%\n#| stage: a\nfrom mlnb import secret\nn = len(secret('API_TOKEN'))\n"
    )
    ran = _run(tmp_path, temporary, "run", "nb.py", "-p", f"word=my {TOKEN}")
    assert ran.returncode == 2
    assert "The parameter `word` holds the secret 'API_TOKEN'" in ran.stderr.decode()
    assert _leaks([tmp_path / ".mlnb"], {"stdout": ran.stdout, "stderr": ran.stderr}) == []


def test_a_changed_value_reruns_nothing_and_a_changed_name_does(tmp_path: Path, temporary: Path) -> None:
    source = "# %%\nfrom mlnb import secret\n\n# %%\n#| stage: a\nn = len(secret('API_TOKEN'))\n"
    (tmp_path / "nb.py").write_text(source)

    def states(**env: str) -> list[str]:
        ran = _run(tmp_path, temporary, "run", "nb.py", "--json", **env)
        return [stage["state"] for stage in json.loads(ran.stdout)["stages"]]

    assert states() == ["done"]
    assert states(API_TOKEN="another-value") == ["cached"]
    (tmp_path / "nb.py").write_text(source.replace("API_TOKEN", "OTHER"))
    assert states(OTHER="another-value") == ["done"]


Look = Callable[..., str]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Look a secret up with the keyring of nobody."""

    def found(name: str, environ: dict[str, str] | None = None, **settings: str) -> str:
        return look_up(name, environ or {}, Settings(**settings), tmp_path, keyring=False)  # type: ignore[arg-type]

    return found


def test_variables_win_over_the_folder_and_the_folder_over_the_dotenv_file(look: Look, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    for name, text in (("keys/DB", "from folder\n"), (".env", "# x\nexport DB='from dotenv'\nWEB=from-web # why\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    places = {"secrets_folder": "keys", "secrets_file": ".env"}
    assert look("DB", {"MLNB_SECRET_DB": "from ours", "DB": "from env"}, **places) == "from ours"
    assert look("DB", {"DB": "from env"}, **places) == "from env"
    assert look("DB", **places) == "from folder"
    assert look("DB", secrets_file=".env") == "from dotenv"
    assert look("WEB", **places) == "from-web"


def test_the_keyring_is_asked_last(tmp_path: Path) -> None:
    import keyring
    from keyring.backend import KeyringBackend

    class Kept(KeyringBackend):
        priority = 1  # type: ignore[assignment]

        def get_password(self, service: str, username: str) -> str | None:
            return "from the ring" if (service, username) == ("mlnb", "DB") else None

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

    before = keyring.get_keyring()
    keyring.set_keyring(Kept())
    try:
        assert look_up("DB", {}, Settings(), tmp_path) == "from the ring"
        with pytest.raises(SecretError, match="There is no secret 'WEB'"):
            look_up("WEB", {}, Settings(), tmp_path)
    finally:
        keyring.set_keyring(before)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DB", "abc", "shorter than 4 characters"),
        ("DB", "   a   ", "shorter than 4 characters"),
        ("TOKEN", "token", "its own name"),
        ("DB PASSWORD", "long-enough", "cannot name a secret"),
        ("../etc/passwd", "long-enough", "cannot name a secret"),
    ],
)
def test_what_cannot_be_hidden_is_refused(look: Look, name: str, value: str, said: str) -> None:
    with pytest.raises(SecretError, match=said) as refused:
        look(name, {name: value})
    assert len(value.strip()) < 4 or value not in str(refused.value).replace(name, "")


def test_a_file_that_others_may_read_is_refused(look: Look, tmp_path: Path) -> None:
    (tmp_path / "DB").write_text("long-enough")
    (tmp_path / "DB").chmod(0o640)
    with pytest.raises(MlnbError, match="may be read by others") as refused:
        look("DB", secrets_folder=".")
    assert "chmod 600" in refused.value.remedy


def test_a_secret_is_a_plain_text_for_every_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLNB_SECRET_UNIT_TEST", "plain-enough")
    assert type(secret("UNIT_TEST")) is str
    assert secret("UNIT_TEST") == "plain-enough"


def test_a_parameter_of_the_library_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlnb.project import Project

    monkeypatch.setenv("MLNB_SECRET_ANY", "never-to-be-seen")
    (tmp_path / "nb.py").write_text("# %% tags=['parameters']\nw = ''\n\n# %%\n#| stage: a\nx = 1\n")
    with pytest.raises(ParameterError, match="holds the secret 'ANY'"):
        Project(tmp_path).run(tmp_path / "nb.py", ["w=never-to-be-seen"])
