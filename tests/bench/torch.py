"""Networks of PyTorch, alone, in skorch and in pipelines, become packages; the environment is made for the bench.

TORCH_PYTHON names a Python that has torch, onnxscript and skorch: PyTorch for Linux is 3 GB with its CUDA libraries.
The columns are those of `tests.bench.fidelity`; the fresh rows are 100,000 that nothing was fitted with. The last case
cannot be traced, and must be kept as it is.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench.beside import beside
from tests.bench.cost import spend
from tests.bench.exported import COLUMNS
from tests.bench.place import Place
from tests.bench.table import Table

_ROOT = Path(__file__).parents[2]
_CASES = """
import json
import numpy as np, pandas as pd, torch
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from torch import nn
from tests.bench.exported import told
from tests.bench.mixed import frame

class Net(nn.Module):
    def __init__(self, columns=8, outputs=1):
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(columns, 32), nn.BatchNorm1d(32), nn.GELU(), nn.Dropout(0.3), nn.Linear(32, outputs)
        )
    def forward(self, rows):
        return self.inner(rows.float())

class Flat(Net):
    def forward(self, rows):
        return super().forward(rows).squeeze(-1)

class Windows(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps, self.last = nn.LSTM(1, 8, batch_first=True), nn.Linear(8, 3)
    def forward(self, rows):
        return self.last(self.steps(rows.float().unsqueeze(-1))[0][:, -1])

class Branches(Net):
    def forward(self, rows):
        made = super().forward(rows)
        return torch.stack([one if float(one.sum()) > 0 else -2 * one for one in made]) if len(made) else made

torch.manual_seed(0)
torch.set_num_threads(1)
rows = frame(4000, seed=1)
numbers = [name for name in rows if name.startswith("x") and name != "x3"] + ["hour"]
X, fresh = (one[numbers].to_numpy(dtype=np.float32) for one in (rows, frame(100_000, seed=2)))
late = (rows["x0"] + rows["x1"] * rows["x2"] + (rows["carrier"] == "AA") > 0.5).to_numpy()
three = late.astype(np.int64) + (X[:, 0] > 1)
how = {"max_epochs": 5, "verbose": 0, "train_split": None, "lr": 0.05}
prepare = make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler()), [*numbers, "x3"]),
    (make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(sparse_output=False)), ["origin"]),
)
width = prepare.fit(rows).transform(rows).shape[1]
entropy = {"criterion": nn.CrossEntropyLoss, **how}
regressor = NeuralNetRegressor(Net, **how).fit(X, X[:, :1] * 2)
several = NeuralNetClassifier(Net, module__outputs=3, **entropy).fit(X, three)
binary = NeuralNetBinaryClassifier(Flat, **how).fit(X, late.astype(np.float32))
piped = make_pipeline(prepare, NeuralNetClassifier(Net, module__columns=width, module__outputs=2, **entropy))
piped.fit(rows, late.astype(np.int64))
cases = [
    ("torch Module, one number", Net(), X, fresh),
    ("torch Module, data frame, 4 numbers", Net(outputs=4), pd.DataFrame(X), pd.DataFrame(fresh)),
    ("torch LSTM", Windows(), X, fresh),
    ("skorch NeuralNetRegressor", regressor, X, fresh),
    ("skorch NeuralNetClassifier, 3 classes", several, X, fresh),
    ("skorch NeuralNetBinaryClassifier", binary, X, fresh),
    ("imputed, scaled, encoded, skorch", piped, rows, frame(100_000, seed=2)),
    ("torch Module that branches by row", Branches(), X[:300], fresh[:2000]),
]
print(json.dumps([told(*case) for case in cases]))
"""


def bench(place: Place) -> Table:
    """Run the cases in the environment with PyTorch."""
    python = beside(place, "torch", "torch", "onnxscript", "skorch")
    found = json.loads(spend((python, "-c", _CASES), _ROOT, place.environ)[1].splitlines()[-1])
    held = all(one["passed"] for one in found) and [one["exporter"] for one in found] == ["onnx"] * 7 + ["native"]
    notes = ["Limit 1e-04; no label may flip, ties apart. The last case must be refused by ONNX and kept as it is."]
    title = "Networks of PyTorch against their packages"
    return Table(title, COLUMNS, [one["row"] for one in found], notes, held)
