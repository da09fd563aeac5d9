"""The server extension in a real Jupyter server, asked over HTTP as a front end asks it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from mlnb.identity import system_user

SCHEMA = json.loads((Path(__file__).parents[3] / "labextension" / "api.schema.json").read_text("utf-8"))
TOKEN = secrets.token_hex(16)
TIMEOUT_S = 120

CELLS = [
    ("rows = 20", "parameters"),
    ("%%stage load\nnumbers = list(range(rows))", ""),
    ("%%stage total\ntotal = sum(numbers)", ""),
    ("%%test total\nassert total == rows * (rows - 1) // 2", ""),
    ("print('only looking')", ""),
]
FAILING = [("%%stage load\nnumbers = [1]", ""), ("%%stage total\nx = 1\ntotal = numbers[x]", "")]
SLOW = [("%%stage wait\nimport time\ntime.sleep(600)\nwaited = 1", "")]


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, and its root folder."""

    process: subprocess.Popen[bytes]
    url: str
    root: Path

    def client(self, token: str = TOKEN) -> httpx.Client:
        headers = {"Authorization": f"token {token}"} if token else {}
        return httpx.Client(base_url=f"{self.url}mlnb/api/", headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def write(self, name: str, *cells: tuple[str, str]) -> str:
        """Write a notebook and return its path relative to the root."""
        made = [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {"tags": [tag]} if tag else {},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for number, (source, tag) in enumerate(cells)
        ]
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}), "utf-8")
        return name


def start(home: Path) -> Server:
    """Start a Jupyter server with nothing but the extension."""
    root = home / "root"
    root.mkdir(parents=True)
    environment = {
        **os.environ,
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
    }
    words = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--port=0", f"--ServerApp.root_dir={root}"]
    extensions = '--ServerApp.jpserver_extensions={"mlnb.faces.server": True}'
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", *words, f"--IdentityProvider.token={TOKEN}", extensions],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    while process.poll() is None:
        for file in (home / "runtime").glob("jpserver-*.json"):
            url = json.loads(file.read_text())["url"]
            httpx.get(f"{url}api", timeout=TIMEOUT_S, trust_env=False).raise_for_status()
            return Server(process, url, root)
        time.sleep(0.05)
    raise AssertionError((home / "log").read_text()[-3000:])


def stop(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = start(tmp_path_factory.mktemp("server"))
    yield started
    stop(started)


@pytest.fixture
def api(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def fits(message: object, name: str) -> None:
    """Check a message against the schema that types.ts is made of."""
    registry: Registry[object] = Registry().with_resource("api", Resource(contents=SCHEMA, specification=DRAFT202012))
    Draft202012Validator({"$ref": f"api#/$defs/{name}"}, registry=registry).validate(message)


def follow(api: httpx.Client, id: str, after: int = 0) -> Iterator[dict[str, object]]:
    """Yield the changes of a run as they come."""
    with api.stream("GET", f"runs/{id}/events", params={"after": after}) as response:
        assert response.headers["content-type"] == "text/event-stream"
        for line in response.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def run(api: httpx.Client, path: str, **parameters: object) -> dict[str, object]:
    """Run a notebook to its end and return the snapshot."""
    accepted = api.post("runs", json={"path": path, "parameters": parameters})
    assert accepted.status_code == 201, accepted.text
    fits(accepted.json(), "RunAccepted")
    for change in follow(api, accepted.json()["id"]):
        fits(change, "RunChange")
    snapshot = api.get(f"runs/{accepted.json()['id']}").json()
    fits(snapshot, "RunSnapshot")
    return snapshot


def states(snapshot: dict[str, object]) -> dict[str, str]:
    return {stage["name"]: stage["state"] for stage in snapshot["stages"]}  # type: ignore[attr-defined]


def refused(response: httpx.Response, status: int) -> str:
    """Check that a refusal has a status and the two sentences, and return the first."""
    assert response.status_code == status, response.text
    fits(response.json(), "Fault")
    assert response.json()["problem"] and response.json()["remedy"]
    return str(response.json()["problem"])


def test_a_request_without_the_token_is_refused(server: Server) -> None:
    path = server.write("secret.ipynb", *CELLS)
    with server.client(token="") as stranger:
        asked = [stranger.get(way, params={"path": path}) for way in ("runs", "plan", "versions", "runs/" + "0" * 16)]
        asked += [
            stranger.post(way, json={"path": path}) for way in ("runs", "marks", "promote", "rollback", "approve")
        ]
        asked += [stranger.get(way, params={"path": path, "model": "m"}) for way in ("promotion", "promotion/revision")]
        asked += [stranger.get("runs/" + "0" * 16 + "/events"), stranger.delete("runs/" + "0" * 16)]
    assert {response.status_code for response in asked} == {403}


def test_a_browser_without_the_xsrf_token_is_refused(server: Server) -> None:
    with server.client(token="") as browser:
        browser.get(f"{server.url}?token={TOKEN}", follow_redirects=False)  # gives the login cookie
        assert browser.get("runs", params={"path": "a.ipynb"}).status_code == 200
        assert browser.post("marks", json={"cells": []}).status_code == 403
        right = {"X-XSRFToken": browser.cookies["_xsrf"]} if "_xsrf" in browser.cookies else {}
        assert right, "the server gave no _xsrf cookie"
        assert browser.post("marks", json={"cells": []}, headers=right).status_code == 200


def test_marks_are_read_from_cells_that_were_never_saved(api: httpx.Client) -> None:
    sources = ["%%stage train --metrics auc", "#| stage: train", "x = 1", "%%test train", "%%stge train", "%%setup"]
    cells = [{"source": source, "tags": []} for source in sources] + [{"source": "y = x", "tags": ["step:load"]}]
    reply = api.post("marks", json={"cells": cells}).json()
    fits(reply, "MarksReply")
    told = [mark and (mark["kind"], mark["name"], mark["node"]) for mark in reply["marks"]]
    assert told == [
        ("stage", "train", "train"),
        ("stage", "train", "train"),
        None,
        ("test", "train", "test-train"),
        ("fault", "", ""),
        ("setup", "", ""),
        ("stage", "load", "load"),
    ]
    assert "%%stage" in reply["marks"][4]["remedy"]


def test_the_plan_names_stages_and_the_cells_that_will_not_run(server: Server, api: httpx.Client) -> None:
    reply = api.get("plan", params={"path": server.write("sub/plan.ipynb", *CELLS)}).json()
    fits(reply, "PlanReply")
    assert [(stage["name"], stage["cells"]) for stage in reply["stages"]] == [
        ("load", [2]), ("total", [3]), ("test-total", [4]),
    ]  # fmt: skip
    assert (reply["parameters"][0]["name"], reply["parameters"][0]["default"], reply["not_run"]) == ("rows", 20, [5])


def test_a_plan_that_cannot_be_made_is_refused_with_its_cell(server: Server, api: httpx.Client) -> None:
    path = server.write("cannot.ipynb", ("%%stage a\nx = nowhere", ""))
    response = api.get("plan", params={"path": path})
    assert "nowhere" in refused(response, 400)
    assert response.json()["cell"] == 1


def test_a_notebook_runs_to_its_end_and_the_second_time_from_the_cache(server: Server, api: httpx.Client) -> None:
    path = server.write("sub/run.ipynb", *CELLS)
    (server.root / "sub" / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")  # no other test's cache
    before = (server.root / path).read_bytes()
    first = run(api, path)
    assert (first["state"], first["fault"]) == ("done", None)
    assert states(first) == {"load": "done", "total": "done", "test-total": "done"}
    again = run(api, path)
    assert states(again) == {"load": "cached", "total": "cached", "test-total": "cached"}
    assert (server.root / path).read_bytes() == before


def test_the_stream_is_told_again_from_the_start_or_from_where_one_was(server: Server, api: httpx.Client) -> None:
    done = run(api, server.write("again.ipynb", *CELLS))
    changes = list(follow(api, str(done["id"])))
    assert [change["sequence"] for change in changes] == list(range(1, int(str(done["sequence"])) + 1))
    assert list(follow(api, str(done["id"]), after=len(changes) - 2)) == changes[-2:]
    assert api.get("runs", params={"path": "again.ipynb"}).json() == [done]


def test_parameters_reach_the_run(server: Server, api: httpx.Client) -> None:
    path = server.write("parameters.ipynb", *CELLS, ("%%test load\nassert len(numbers) == 7", ""))
    assert run(api, path, rows=7)["state"] == "done"


def test_an_unknown_parameter_is_refused(server: Server, api: httpx.Client) -> None:
    snapshot = run(api, server.write("unknown.ipynb", *CELLS), rwos=7)
    assert snapshot["state"] == "failed"
    assert "rwos" in snapshot["fault"]["problem"]  # type: ignore[index]


def test_a_failing_stage_is_told_with_cell_and_line(server: Server, api: httpx.Client) -> None:
    path = server.write("failing/nb.ipynb", *FAILING)
    (server.root / "failing" / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")  # no other test's cache
    snapshot = run(api, path)
    fault = snapshot["fault"]
    assert states(snapshot) == {"load": "done", "total": "failed"}
    assert (fault["stage"], fault["cell"], fault["line"]) == ("total", 2, 3)  # type: ignore[index]
    assert "IndexError" in fault["problem"]  # type: ignore[index]


@pytest.mark.parametrize(
    "path", ["../outside.ipynb", "/../outside.ipynb", "missing.ipynb", "folder", "link.ipynb", "a\0b.ipynb", "text.txt"]
)
def test_only_notebooks_below_the_root_are_touched(server: Server, api: httpx.Client, path: str) -> None:
    (server.root.parent / "outside.ipynb").write_text("{}")
    (server.root / "folder").mkdir(exist_ok=True)
    (server.root / "text.txt").write_text("{}")
    link = server.root / "link.ipynb"
    if not link.is_symlink():
        link.symlink_to(server.root.parent / "outside.ipynb")
    refused(api.post("runs", json={"path": path}), 400 if "\0" in path else 404)
    refused(api.get("plan", params={"path": path}), 404)


@pytest.mark.parametrize(
    "body",
    [b"not json", b"[]", b'{"path": 3}', b'{"path": "x.ipynb", "parameters": {"--force": 1}}',
     b'{"path": "x.ipynb", "parameters": {"a": [1]}}', b'{"path": "x.ipynb", "parameters": 7}'],
)  # fmt: skip
def test_a_malformed_request_is_refused(server: Server, api: httpx.Client, body: bytes) -> None:
    server.write("x.ipynb", *CELLS)
    refused(api.post("runs", content=body), 400)


@pytest.fixture
def shop(server: Server, registered: Path) -> Iterator[str]:
    """The notebook of a project with three versions of `delays`."""
    folder = server.root / "shop"
    shutil.copytree(registered, folder)
    yield server.write("shop/nb.ipynb", *CELLS)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("verb", "body"),
    [("promote", {"ref": "--force", "alias": "production"}), ("promote", {"ref": "delays/1", "alias": "--force"}),
     ("promote", {"ref": "delays/1;ls", "alias": "production"}), ("rollback", {"model": "-q", "alias": "production"}),
     ("promote", {"alias": "production"}), ("approve", {"ref": "delays/9", "alias": "production"}),
     ("rollback", {"model": "delays", "alias": "production", "to": "../1"})],
)  # fmt: skip
def test_a_decision_that_makes_no_sense_is_refused(
    api: httpx.Client, shop: str, verb: str, body: dict[str, str]
) -> None:
    before = api.get("promotion/revision", params={"path": shop}).json()
    refused(api.post(verb, json={"path": shop, **body}), 400)
    assert api.get("promotion/revision", params={"path": shop}).json() == before


def test_what_there_is_to_decide_is_asked_for_and_decided(server: Server, api: httpx.Client, shop: str) -> None:
    asked = {"path": shop, "model": "delays", "alias": "staging", "ref": "delays/1"}
    board = api.get("promotion", params=asked).json()
    fits(board, "PromotionBoard")
    assert (board["candidate"], board["champion"], board["named"]) == ("delays/1", "delays/3", False)
    body = {"path": shop, "ref": "delays/1", "alias": "staging", "held": "delays/2"}
    assert "delays/3" in refused(api.post("promote", json=body), 409)
    assert api.post("promote", json={**body, "held": "delays/3"}).json()["to"] == "delays/1"
    revision = api.get("promotion/revision", params={"path": shop}).json()
    fits(revision, "PromotionRevision")
    assert revision["revision"] != board["revision"]
    back = {"path": shop, "model": "delays", "alias": "staging", "to": "delays/3"}
    assert api.post("rollback", json=back).json()["kind"] == "rollback"
    newest = api.get("promotion", params=asked).json()["history"][0]
    assert (newest["kind"], newest["by"]) == ("rollback", system_user())  # who only has the token is the server's user


def test_a_browser_that_gives_itself_a_name_is_no_other_person(server: Server, shop: str) -> None:
    with server.client(token="") as browser:
        browser.get(f"{server.url}?token={TOKEN}", follow_redirects=False)
        right = {"X-XSRFToken": browser.cookies["_xsrf"]}
        names = {"name": "Ben", "display_name": "Ben"}
        renamed = browser.patch(f"{server.url}api/me", json=names, headers=right)
        assert renamed.json()["identity"]["display_name"] == "Ben"
        board = browser.get("promotion", params={"path": shop, "model": "delays"}).json()
    assert (board["named"], board["actor"]) == (False, system_user())


def test_a_policy_that_is_written_later_holds_at_once(server: Server, api: httpx.Client, shop: str) -> None:
    body = {"path": shop, "ref": "delays/1", "alias": "production"}
    assert api.post("promote", json=body).status_code == 200
    (server.root / "shop" / "pyproject.toml").write_text('[tool.mlnb.policy."*"]\npromote = ["nobody"]\n')
    refused(api.post("promote", json={**body, "ref": "delays/2"}), 403)


def test_looking_makes_no_project(server: Server, api: httpx.Client) -> None:
    path = server.write("none/promote.ipynb", *CELLS)
    (server.root / "none" / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
    refused(api.get("promotion", params={"path": path, "model": "delays"}), 400)
    refused(api.post("promote", json={"path": path, "ref": "delays/7", "alias": "production"}), 400)
    assert not (server.root / "none" / ".mlnb").exists()


def test_a_run_that_is_not_known_is_refused(api: httpx.Client) -> None:
    for response in (api.get("runs/" + "0" * 16), api.delete("runs/" + "0" * 16), api.get(f"runs/{'0' * 16}/events")):
        refused(response, 404)


def test_a_run_is_cancelled_and_its_processes_go(server: Server, api: httpx.Client) -> None:
    path = server.write("slow.ipynb", *SLOW)
    before = set(psutil.Process(server.process.pid).children(recursive=True))
    id = api.post("runs", json={"path": path}).json()["id"]
    for change in follow(api, id):
        if change["stage"] and change["stage"]["position"]:  # type: ignore[index]
            break
    refused(api.post("runs", json={"path": path}), 409)
    assert api.delete(f"runs/{id}").status_code == 204
    snapshot = api.get(f"runs/{id}").json()
    assert (snapshot["state"], states(snapshot)) == ("cancelled", {"wait": "cancelled"})
    assert set(psutil.Process(server.process.pid).children(recursive=True)) <= before


def test_stopping_the_server_stops_its_runs(tmp_path: Path) -> None:
    server = start(tmp_path)
    path = server.write("slow.ipynb", *SLOW)
    with server.client() as api:
        id = api.post("runs", json={"path": path}).json()["id"]
        for change in follow(api, id):
            if change["stage"] and change["stage"]["position"]:  # type: ignore[index]
                break
        started = psutil.Process(server.process.pid).children(recursive=True)
        assert started
    stop(server)
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []
