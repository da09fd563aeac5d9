"""What MLflow's server answers to the calls that mlnb makes, kept in memory, by a real HTTP server on loopback.

``python -m tests.bench mirror`` runs the same scenario on a real MLflow: where the two differ, this is wrong.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]
_API = "/api/2.0/mlflow/"
_FILES = "/api/2.0/mlflow-artifacts/artifacts"


class NotFound(Exception):
    """MLflow's RESOURCE_DOES_NOT_EXIST."""


@dataclass
class Double:
    """The server's state, and what tests may ask of it or do to it."""

    url: str = ""
    version: str = "3.17.2"
    experiments: dict[str, str] = field(default_factory=dict)
    runs: dict[str, Json] = field(default_factory=dict)
    models: dict[str, Json] = field(default_factory=dict)
    registered: dict[str, Json] = field(default_factory=dict)
    versions: dict[str, list[Json]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    made: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    fails_at: int = 0
    """The write that is answered with an error, counted from 1; 0 for none."""
    answers: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    """What is answered to a path whatever the state is."""

    def api(self, method: str, path: str, said: Json) -> Json:
        name = f"{method} {path}"
        model = re.fullmatch(r"(GET|PATCH|DELETE) logged-models/(m-\d+)", name)
        if model:
            if method == "DELETE":
                del self.models[model[2]]
                return {}
            known = self.models[model[2]]
            if method == "PATCH":
                known["info"]["status"] = said["status"]
            return {"model": known}
        return getattr(self, re.sub(r"\W+", "_", name).lower())(said)

    def get_experiments_get_by_name(self, said: Json) -> Json:
        if said["experiment_name"] not in self.experiments:
            raise NotFound
        return {"experiment": {"experiment_id": self.experiments[said["experiment_name"]]}}

    def post_experiments_create(self, said: Json) -> Json:
        self.experiments[said["name"]] = str(len(self.experiments) + 1)
        return {"experiment_id": self.experiments[said["name"]]}

    def post_runs_search(self, said: Json) -> Json:
        tag, value = _asked(said["filter"])
        found = [
            run
            for run in self.runs.values()
            if {"key": tag, "value": value} in run["data"]["tags"] and run["info"]["lifecycle_stage"] == "active"
        ]
        return {"runs": found} if found else {}

    def post_runs_create(self, said: Json) -> Json:
        run_id = f"{len(self.runs) + 1:032x}"
        info = {"run_id": run_id, "run_name": said["run_name"], "start_time": said["start_time"], "status": "RUNNING"}
        info |= {"lifecycle_stage": "active", "artifact_uri": f"mlflow-artifacts:/1/{run_id}/artifacts"}
        self.runs[run_id] = {"info": info, "data": {"tags": said["tags"], "metrics": [], "params": []}}
        return {"run": self.runs[run_id]}

    def get_runs_get(self, said: Json) -> Json:
        if said["run_id"] not in self.runs:
            raise NotFound
        return {"run": self.runs[said["run_id"]]}

    def post_runs_update(self, said: Json) -> Json:
        self.runs[said["run_id"]]["info"] |= said
        return {}

    def post_runs_delete(self, said: Json) -> Json:
        self.runs[said["run_id"]]["info"]["lifecycle_stage"] = "deleted"
        return {}

    def post_runs_log_batch(self, said: Json) -> Json:
        data = self.runs[said["run_id"]]["data"]
        data["metrics"] += said.get("metrics", [])
        data["params"] += said.get("params", [])
        return {}

    def post_runs_outputs(self, said: Json) -> Json:
        self.runs[said["run_id"]]["outputs"] = {"model_outputs": said["models"]}
        return {}

    def post_logged_models_search(self, said: Json) -> Json:
        tag, value = _asked(said["filter"])
        return {
            "models": [
                one for one in self.models.values() if {"key": tag, "value": value} in one["info"].get("tags", [])
            ]
        }

    def post_logged_models(self, said: Json) -> Json:
        self.made += 1
        model_id = f"m-{self.made}"
        uri = f"mlflow-artifacts:/{said['experiment_id']}/models/{model_id}/artifacts"
        info = {"model_id": model_id, "name": said["name"], "artifact_uri": uri, "status": "PENDING"}
        self.models[model_id] = {"info": info | {"source_run_id": said["source_run_id"], "tags": said["tags"]}}
        return {"model": self.models[model_id]}

    def get_registered_models_get(self, said: Json) -> Json:
        if said["name"] not in self.registered:
            raise NotFound
        return {"registered_model": self.registered[said["name"]]}

    def post_registered_models_create(self, said: Json) -> Json:
        self.registered[said["name"]] = {"name": said["name"], "tags": [], "aliases": []}
        self.versions[said["name"]] = []
        return {"registered_model": self.registered[said["name"]]}

    def post_registered_models_set_tag(self, said: Json) -> Json:
        _set(self.registered[said["name"]]["tags"], "key", said["key"], {"value": said["value"]})
        return {}

    def post_registered_models_alias(self, said: Json) -> Json:
        _set(self.registered[said["name"]]["aliases"], "alias", said["alias"], {"version": said["version"]})
        return {}

    def get_registered_models_alias(self, said: Json) -> Json:
        found = {one["alias"]: one["version"] for one in self.registered[said["name"]]["aliases"]}
        if said["alias"] not in found:
            raise NotFound
        return {"model_version": self.versions[said["name"]][int(found[said["alias"]]) - 1]}

    def get_model_versions_search(self, said: Json) -> Json:
        found = self.versions[re.fullmatch(r"name='(.+)'", said["filter"])[1]]  # type: ignore[index]
        first = int(said.get("page_token", 0))  # two a page, so that pages are turned
        page: Json = {"model_versions": found[first : first + 2]} if found else {}
        return page | ({"next_page_token": str(first + 2)} if len(found) > first + 2 else {})

    def get_model_versions_get(self, said: Json) -> Json:
        return {"model_version": self.versions[said["name"]][int(said["version"]) - 1]}

    def post_model_versions_create(self, said: Json) -> Json:
        number = str(len(self.versions[said["name"]]) + 1)
        self.versions[said["name"]].append({**said, "version": number})
        return {"model_version": self.versions[said["name"]][-1]}

    def post_model_versions_set_tag(self, said: Json) -> Json:
        tags = self.versions[said["name"]][int(said["version"]) - 1]["tags"]
        _set(tags, "key", said["key"], {"value": said["value"]})
        return {}

    def delete_model_versions_delete_tag(self, said: Json) -> Json:
        tags = self.versions[said["name"]][int(said["version"]) - 1]["tags"]
        tags[:] = [tag for tag in tags if tag["key"] != said["key"]]
        return {}

    def listed(self, folder: str) -> Json:
        names = {name[len(folder) + 1 :] for name in self.files if name.startswith(f"{folder}/")}
        found = {name.partition("/")[0]: "/" in name for name in sorted(names)}
        return {"files": [{"path": name, "is_dir": is_dir} for name, is_dir in found.items()]}


def _asked(condition: str) -> tuple[str, ...]:
    return re.fullmatch(r"tags\.`(.+)` = '(.+)'", condition).groups()  # type: ignore[union-attr]


def _set(rows: list[Json], key: str, name: str, fields: Json) -> None:
    rows[:] = [row for row in rows if row[key] != name]
    rows.append({key: name, **fields})


class _Handler(BaseHTTPRequestHandler):
    double: Double
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _do(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        self.double.headers.append(dict(self.headers))
        path = unquote(urlsplit(self.path).path)
        status, content, headers = self.double.answers.get(path) or self._answer(path, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do

    def _answer(self, path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        double, query = self.double, parse_qs(urlsplit(self.path).query)
        if path == "/version":
            return 200, double.version.encode(), {}
        if self.command != "GET" and not path.endswith("/search"):
            with double.lock:
                double.writes.append(f"{self.command} {path}")
                failing = len(double.writes) == double.fails_at
            if failing:
                return 500, b'{"error_code": "INTERNAL_ERROR", "message": "the disk is full"}', {}
        if path.startswith(f"{_FILES}/"):
            name = path.removeprefix(f"{_FILES}/")
            if self.command == "PUT":
                double.files[name] = body
            return 200, double.files[name] if self.command == "GET" else b"{}", {}
        if path == _FILES:
            return 200, json.dumps(double.listed(query["path"][0])).encode(), {}
        said = json.loads(body) if body else {name: values[0] for name, values in query.items()}
        try:
            return 200, json.dumps(double.api(self.command, path.removeprefix(_API), said)).encode(), {}
        except NotFound:
            return 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No such thing"}', {}


@contextmanager
def mlflow_double() -> Iterator[Double]:
    """Serve a new, empty double."""
    double = Double()
    handler = type("Handler", (_Handler,), {"double": double})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        double.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield double
        finally:
            server.shutdown()
            thread.join()
