"""A generated notebook becomes a running service, through the front door: ``mlnb deploy``."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import psutil

from tests.bench.notebook import write_notebook
from tests.bench.rows import draw, late

if TYPE_CHECKING:
    from tests.bench.place import Place

MODEL = "late"
_SAMPLE_ROWS = 4000
_CELLS = (
    "%load_ext mlnb",
    "import joblib\nimport pandas as pd\n"
    "from sklearn.compose import make_column_transformer\n"
    "from sklearn.ensemble import GradientBoostingClassifier\n"
    "from sklearn.pipeline import make_pipeline\n"
    "from sklearn.preprocessing import OneHotEncoder",
    "%%stage train\n"
    'table = pd.read_csv("flights.csv")\n'
    'sample = table.drop(columns="late")\n'
    'words = make_column_transformer((OneHotEncoder(), ["carrier", "origin"]), remainder="passthrough")\n'
    "model = make_pipeline(words, GradientBoostingClassifier(n_estimators=50, random_state=0))\n"
    'model.fit(sample, table["late"])\n'
    'joblib.dump(model, "model.joblib")  # for the peers',
    f"%%deploy {MODEL} --model model --sample sample --to production",
)


class Deployed:
    """A project whose one model answers; as a context manager, its service is stopped at the end.

    A bench that deploys another version, changes settings or kills processes has one of its own: `Place.deployed` is
    for those that leave it as it was.

    Parameters
    ----------
    place : Place
        Where it is made.
    name : str
        Of its folder.

    Attributes
    ----------
    project : Path
        Its folder, with ``flights.csv`` (what the model was fitted to) and ``model.joblib`` (the estimator).
    """

    def __init__(self, place: Place, name: str) -> None:
        self._place = place
        self.project = place.make(name)
        (self.project / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
        rows = draw(_SAMPLE_ROWS, seed=1)
        with (self.project / "flights.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*rows[0], "late"])
            writer.writerows([*row.values(), label] for row, label in zip(rows, late(rows, seed=2), strict=True))
        notebook = write_notebook(self.project / "late.ipynb", _CELLS)
        [shipment] = place.mlnb(self.project, "deploy", notebook)
        if shipment["exporter"] != "onnx":
            raise RuntimeError(f"The bench's model was exported by {shipment['exporter']}, not onnx.")
        self._running(shipment["deployment"])

    def __enter__(self) -> Deployed:
        """Return it, with its service running."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the service."""
        self.stop()

    @property
    def onnx(self) -> Path:
        """The model file of the one version that the service answers with."""
        [found] = self._bento.glob("src/versions/*/model.onnx")
        return found

    @property
    def log(self) -> Path:
        """Folder of the prediction log."""
        return self.project / ".mlnb" / "predictions" / MODEL

    def start(self) -> None:
        """Start the service where it does not run."""
        [deployment] = self._place.mlnb(self.project, "services", "start", MODEL)
        self._running(deployment)

    def stop(self) -> None:
        """Stop the service."""
        self._place.mlnb(self.project, "services", "stop", MODEL)

    def forget(self) -> None:
        """Empty the prediction log."""
        self.stop()
        shutil.rmtree(self.log, ignore_errors=True)
        self.start()

    def _running(self, deployment: dict[str, str]) -> None:
        self.url = deployment["url"]
        self._bento = Path(deployment["bento"])
        self.process = psutil.Process(int(deployment["pid"]))
