"""The main job end to end, as `make demo` runs it: plan, run, deploy, promote, answer, watch; then stop the service.

It works on a copy of the first tutorial in `.demo/` and leaves its reports there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

from mlnb import Project

HERE = Path(__file__).resolve().parent
PLACE = HERE.parent / ".demo"
NOTEBOOK = PLACE / "01_first_pipeline.ipynb"
RUN_REPORTS = ("--html", "run.html", "--junitxml", "run.xml")
YEAR_REPORT = ("--span", "month", "--html", "drift.html")


def main() -> int:
    """Walk the road once; return the first exit code that is not 0."""
    began = time.monotonic()
    if NOTEBOOK.exists():
        mlnb("services", "stop", "delays", quiet=True)
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    shutil.copy(HERE / NOTEBOOK.name, NOTEBOOK)
    (PLACE / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
    try:
        step(1, "The notebook as a pipeline", "plan", NOTEBOOK.name)
        step(
            2,
            "Run it: every stage in a fresh kernel",
            "run",
            NOTEBOOK.name,
            "--html",
            "run.html",
            "--junitxml",
            "run.xml",
        )
        step(3, "Register, package, try, gate and serve the model", "deploy", NOTEBOOK.name)
        step(4, "Promote the version", "promote", "delays@staging", "production", "--reason", "the demo's own")
        title(5, "Let the service answer for the rest of 2013")
        answer_the_year()
        step(
            6,
            "Watch: what drifted since the training months",
            "monitor",
            "delays",
            "--span",
            "month",
            "--html",
            "drift.html",
        )
        step(7, "Who did what", "audit", "verify")
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    finally:
        mlnb("services", "stop", "delays", quiet=True)
    print(f"\nDone in {time.monotonic() - began:.0f} s; the service is stopped again. Look at")
    print(f"  {PLACE / 'drift.html'}\n  {PLACE / 'run.html'}")
    print("Next: `make lab` opens JupyterLab on the example.")
    return 0


def step(number: int, text: str, *command: str) -> None:
    """Say what comes, run one verb, and let its output through."""
    title(number, f"{text}\n$ mlnb {' '.join(command)}")
    mlnb(*command)


def title(number: int, text: str) -> None:
    """Print the heading of a step."""
    print(f"\n=== {number}. {text}", flush=True)


def mlnb(*command: str, quiet: bool = False) -> None:
    """Run one verb in the demo's folder."""
    subprocess.run(
        [sys.executable, "-m", "mlnb", *command],
        cwd=PLACE,
        check=not quiet,
        capture_output=quiet,
        stdin=subprocess.DEVNULL,
    )


def answer_the_year() -> None:
    """Post every 40th flight after the training months, and afterwards what really happened."""
    project = Project(PLACE)
    flights = project.runs.load("flights")
    features = [column for column in flights.columns if column not in {"time_hour", "month", "late"}]
    rest = flights[flights["month"] > 3].sort_values("time_hour").iloc[::40]
    url = project.services.status("delays").url
    for start in range(0, len(rest), 500):
        batch = rest.iloc[start : start + 500]
        rows = json.loads(batch[features].to_json(orient="records"))
        answer = post(f"{url}/predict", {"rows": rows, "timestamps": batch["time_hour"].tolist()})
        post(f"{url}/labels", {"labels": dict(zip(answer["ids"], batch["late"].tolist(), strict=True))})
    print(f"{len(rest)} flights answered by {answer['version']} at {url}, each one logged; labels followed")


def post(url: str, body: object) -> dict[str, list[str]]:
    """Send JSON, return the JSON that comes back."""
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
