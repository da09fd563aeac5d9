"""The clients of other servers, and a tester of OpenAPI documents, ask one service; the table says what each got.

tritonclient runs here; KServe's client, MLflow's and schemathesis in virtual environments of their own, which are made
where KSERVE_PYTHON, MLFLOW_PYTHON and SCHEMATHESIS_PYTHON name none. The answers must be scikit-learn's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.bench.client_case import WideService, client_case
from tests.bench.mlflow_peer import mlflow_python
from tests.bench.place import Place
from tests.bench.table import Table

_EXAMPLES = 15
# The tester takes 413, for more rows than one request may have, for no refusal until it is told.
_SETTINGS = '[checks.negative_data_rejection]\nexpected-statuses = ["400", "404", "405", "413", "415", "422"]\n'


def bench(place: Place) -> Table:
    """Let each client ask in each of its forms; schemathesis with more seeds for each repetition."""
    folder = place.make("clients")
    rows, notes, held = [], [], True
    with WideService(place.make("clients-service")) as service:
        case = folder / "case.json"
        case.write_text(json.dumps({**client_case(service.port, service.package), "grpc_port": service.grpc_port}))
        for name in ("triton", "triton-grpc", "kserve", "kserve-grpc", "mlflow"):
            outcomes = _outcomes(_python(name, place), name, case)
            failed = {form: told for form, told in outcomes.items() if told != "passed"}
            notes += [f"{name}, {form}: {told}" for form, told in failed.items()]
            rows.append([name, str(len(outcomes)), str(len(outcomes) - len(failed)), str(len(failed))])
            held = held and not failed
        for seed in range(1, place.count + 1):
            cases, wrong, told = _schemathesis(_python("schemathesis", place), service.port, seed, folder)
            notes += told
            rows.append([f"schemathesis, seed {seed}", f"{cases:,}", f"{cases - wrong:,}", str(wrong)])
            held = held and not told
    verdict = (
        f"Every form of every client passes, and schemathesis finds nothing: {'holds' if held else 'DOES NOT HOLD'}."
    )
    return Table("clients: what others ask", ["client", "forms", "passed", "failed"], rows, [verdict, *notes], held)


def _python(name: str, place: Place) -> str:
    name = name.removesuffix("-grpc")
    if name == "triton":
        return sys.executable
    if name == "mlflow":
        return mlflow_python(place.folder)
    known = os.environ.get(f"{name.upper()}_PYTHON")
    if known:
        return known
    folder = place.folder / "clients"
    python, uv = str(folder / name / "bin" / "python"), str(Path(sys.executable).parent / "uv")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not Path(python).exists():
        for words in (("venv", "-q", "--python", version, name), ("pip", "install", "-q", "--python", python, name)):
            subprocess.run([uv, *words], cwd=folder, check=True)
    return python


def _outcomes(python: str, name: str, case: Path) -> dict[str, str]:
    told = subprocess.run(
        [python, Path(__file__).with_name("client_peers.py"), name, case], capture_output=True, text=True, check=False
    )
    if told.returncode:
        return {"the client itself": told.stderr[-400:]}
    outcomes: dict[str, str] = json.loads(told.stdout.splitlines()[-1])
    return outcomes


def _schemathesis(python: str, port: int, seed: int, folder: Path) -> tuple[int, int, list[str]]:
    """Return how many cases were tried, how many failed, and what was said of them."""
    settings = folder / "schemathesis.toml"
    settings.write_text(_SETTINGS)
    url = f"http://127.0.0.1:{port}/openapi.json"
    words = [
        "--checks",
        "all",
        "--max-examples",
        str(_EXAMPLES),
        "--seed",
        str(seed),
        "--continue-on-failure",
        "--no-color",
    ]
    command = [str(Path(python).with_name("schemathesis")), "--config-file", str(settings), "run", url, *words]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    count = re.search(r"(\d+) generated", told.stdout)
    failed = re.search(r"(\d+) unique failures", told.stdout)
    said = [] if told.returncode == 0 else [line for line in told.stdout.splitlines() if line.startswith("- ST")][:5]
    if told.returncode and not said:
        said = [told.stdout[-600:] + told.stderr[-300:]]
    return int(count[1]) if count else 0, int(failed[1]) if failed else 0, said
