"""kill -9 at random moments of promote, rollback and gc: the old state or the new, and every effect once afterwards.

A real service answers under the alias, and a web server is told of each move. After each kill the ledger is verified
with all bytes; then any verb of the project runs, and the service, asked for a prediction, answers with the version
that the alias says, and the web server has been told of each move that is in the history, under one key each.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from urllib.request import Request, urlopen

from tests.bench.deployed import MODEL, Deployed
from tests.bench.place import Place
from tests.bench.rows import draw as draw_rows
from tests.bench.table import Table

_KILLS_EACH = 40
_LONGEST_S = 1.5
_SETTLED_S = 30.0


class Receiver(ThreadingHTTPServer):
    """Counts what it is told, by key."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Told)
        self.told: Counter[str] = Counter()
        self.moves: dict[str, int] = {}
        self.lock = Lock()


class _Told(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.told[self.headers["Idempotency-Key"]] += 1
            self.server.moves[self.headers["Idempotency-Key"]] = body["id"]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


def bench(place: Place) -> Table:
    """Kill 40 times for each repetition."""
    draw, kills = random.Random(20261123), _KILLS_EACH * place.count
    with Receiver() as receiver:
        thread = Thread(target=receiver.serve_forever, args=(0.02,))
        thread.start()
        try:
            with Deployed(place, "acts") as deployed:
                _furnish(place, deployed.project, receiver.server_address[1])
                wrong = [_killed(place, deployed, receiver, draw, number) for number in range(kills)]
            again = sum(count - 1 for count in receiver.told.values())
            told = len(receiver.told)
        finally:
            receiver.shutdown()
            thread.join()
    faults = [fault for fault in wrong if fault]
    return Table(
        f"acts: kill -9 at random moments of promote, rollback and gc ({kills} kills)",
        ["", "kills", "moves told", "told twice", "wrong"],
        [["mlnb, SQLite", str(kills), str(told), str(again), str(len(faults))]],
        [
            "Wrong: the process ended by itself, the ledger does not verify, the alias is not where the last move left "
            "it, a prediction comes from another version after the next verb, or a move was not told.",
            "Told twice: the process died between the receiver's answer and its note of it; both had the same "
            "Idempotency-Key.",
            *faults[:5],
        ],
        held=not faults and told > 0,
    )


def _furnish(place: Place, project: Path, port: int) -> None:
    """Deploy the model twice more, each a little different."""
    settings = f'[tool.mlnb]\nnotify_url = "http://127.0.0.1:{port}/"\n'
    (project / "pyproject.toml").write_text(settings, "utf-8")
    notebook = project / "late.ipynb"
    source = notebook.read_text("utf-8")
    for trees in (40, 45):
        notebook.write_text(source.replace("n_estimators=50", f"n_estimators={trees}"), "utf-8")
        place.mlnb(project, "deploy", notebook)


def _killed(place: Place, deployed: Deployed, receiver: Receiver, draw: random.Random, number: int) -> str:
    """Kill one worker; return what is wrong afterwards, empty for nothing."""
    project = deployed.project
    words = [sys.executable, "-m", "tests.bench.acts_worker", str(project), str(number)]
    root = Path(__file__).parents[2]
    errors = place.folder / "acts-errors.txt"
    with (
        errors.open("w+", encoding="utf-8") as said,
        subprocess.Popen(words, cwd=root, env=place.environ, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        assert process.stdout is not None
        started = process.stdout.readline() == "ready\n"
        if started:
            time.sleep(draw.uniform(0, _LONGEST_S))
            process.kill()
    if process.returncode != -signal.SIGKILL:
        return f"kill {number}: the worker ended by itself: {errors.read_text('utf-8').strip()[-300:]}"
    checked = subprocess.run(
        [sys.executable, "-m", "tests.bench.acts", str(project)],
        cwd=root,
        env=place.environ,
        capture_output=True,
        text=True,
    )
    if checked.returncode:
        return f"kill {number}: {checked.stderr.strip()[-300:]}"
    found = json.loads(checked.stdout)
    until = time.monotonic() + _SETTLED_S
    missing: list[int] = []
    while time.monotonic() < until:
        place.mlnb(project, "audit", "log")
        with receiver.lock:
            told = Counter(receiver.moves.values())
        missing = [move for move in found["moves"] if told[move] != 1]
        if not missing:
            break
    answers = _version(deployed.url)
    wrong = [text for text in found["wrong"] if text]
    wrong += [f"moves {missing} were not told once"] if missing else []
    wrong += [f"the service answers with {answers}"] if answers != f"{MODEL}/{found['now']}" else []
    return f"kill {number}: {'; '.join(wrong)}" if wrong else ""


def _version(url: str) -> str:
    """Ask for a prediction; return the version that has answered."""
    body = json.dumps({"rows": draw_rows(1, seed=7)}).encode()
    with urlopen(Request(f"{url}/predict", body, {"Content-Type": "application/json"}), timeout=60) as answer:
        return str(json.load(answer)["version"])


def look(folder: Path) -> dict[str, object]:
    """Look at what a killed process has left, before anything mends it."""
    from mlnb.project import Project

    project = Project(folder)
    report = project.audit.verify(project.state.files)
    moves = project.models.history("late", "production")
    now = project.models.aliases("late")["production"]
    rows = [row for row in project.audit.log("late@production") if row.action in ("promote", "rollback")]
    wrong = [
        "" if report.ok else report.sentence,
        "" if moves[-1].to_number == now else f"the alias is at {now}, the last move led to {moves[-1].to_number}",
        "" if len(rows) == len(moves) else "moves and rows of the log differ in number",
    ]
    told = [int(str(row.detail["promotion"])) for row in rows if "effects" in row.detail and _tells(row.detail)]
    return {"wrong": wrong, "now": now, "moves": told}


def _tells(detail: object) -> bool:
    effects = detail["effects"] if isinstance(detail, dict) else {}
    return len(effects) > 1  # the route, and the message


if __name__ == "__main__":
    print(json.dumps(look(Path(sys.argv[1]))))
