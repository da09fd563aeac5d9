"""XGBoost, LightGBM and CatBoost become ONNX, and pipelines become PMML; both are compared with the estimators.

CatBoost is installed beside what is here (BOOSTERS_PYTHON names a Python that has it); so are sklearn2pmml,
jpmml-evaluator and the scikit-learn that they read (PMML_PYTHON), which need Java. ONNX has the columns of
`tests.bench.fidelity`. PMML is asked through `mlnb models pmml` of a deployed pipeline first, then case by case.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.bench.beside import beside
from tests.bench.cost import spend
from tests.bench.exported import COLUMNS
from tests.bench.notebook import write_notebook
from tests.bench.place import Place
from tests.bench.table import Table

_ROOT = Path(__file__).parents[2]
_PMML = ("sklearn2pmml>=0.133", "jpmml-evaluator[jpype]>=0.16", "scikit-learn==1.9.0")
_TREES = """
import json
import numpy as np
import pandas as pd
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier, XGBRegressor
from tests.bench.exported import told
from tests.bench.mixed import frame

few = {"n_estimators": 60, "n_jobs": 1}
light, cat = {**few, "verbose": -1}, {"iterations": 60, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
rows, fresh = frame(6000, seed=1), frame(100_000, seed=2)
late = ((rows["x0"] + rows["x1"] * rows["x2"] + (rows["carrier"] == "AA") + rows["hour"] / 10) > 1.5).astype(int)
kind = pd.cut(rows["x0"] + rows["x4"], [-99, -0.5, 0.5, 99], labels=["early", "due", "late"]).astype(str).to_numpy()
minutes = rows["x0"] * 10 + rows["hour"]
words = ["carrier", "origin"]
numbers = [name for name in rows if name not in words]
known = {name: sorted(rows[name].dropna().unique()) for name in words}
as_known = lambda one: one.assign(**{name: pd.Categorical(one[name], categories=known[name]) for name in words})
prepare = lambda: make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
    (make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(handle_unknown="ignore")), words),
)
plain = (rows[numbers], fresh[numbers])
typed = (as_known(rows), as_known(fresh))
whole = (rows, fresh)
cases = [
    ("XGBClassifier", XGBClassifier(**few), late, plain),
    ("XGBClassifier, categories", XGBClassifier(enable_categorical=True, **few), late, typed),
    ("XGBRegressor", XGBRegressor(**few), minutes, plain),
    ("prepared, XGBClassifier", make_pipeline(prepare(), XGBClassifier(**few)), late, whole),
    ("LGBMClassifier", LGBMClassifier(**light), kind, plain),
    ("LGBMClassifier, categories", LGBMClassifier(**light), late, typed),
    ("LGBMRegressor, categories", LGBMRegressor(**light), minutes, typed),
    ("prepared, LGBMRegressor", make_pipeline(prepare(), LGBMRegressor(**light)), minutes, whole),
    ("CatBoostClassifier", CatBoostClassifier(**cat), late, plain),
    ("CatBoostClassifier, 3 classes", CatBoostClassifier(loss_function="MultiClass", **cat), kind, plain),
    ("CatBoostRegressor", CatBoostRegressor(**cat), minutes, plain),
    ("prepared, CatBoostRegressor", make_pipeline(prepare(), CatBoostRegressor(**cat)), minutes, whole),
]
print(json.dumps([told(name, model.fit(a, y), a.iloc[:2000], b) for name, model, y, (a, b) in cases]))
"""
_ENGINE = """
import json
import tempfile
import time
from pathlib import Path
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from mlnb.errors import MlnbError
from mlnb.model.inference import examine
from mlnb.model.pmml import export_pmml
from tests.bench.mixed import frame

rows = frame(3000, seed=1)
late = (rows["x0"] + rows["x1"] * rows["x2"] + rows["hour"] / 10) > 1.2
numbers = ["x0", "x1", "x2", "hour"]
prepare = lambda: make_column_transformer((StandardScaler(), numbers), (OneHotEncoder(), ["carrier"]))
gaps = make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler()), ["x0", "x3"]), (OneHotEncoder(), ["carrier"])
)
both, alone = [*numbers, "carrier"], numbers
cases = [
    ("LogisticRegression, truths", make_pipeline(prepare(), LogisticRegression()), both, late),
    ("LogisticRegression, missing", make_pipeline(gaps, LogisticRegression()), ["x0", "x3", "carrier"], late.astype(int)),
    ("Ridge", make_pipeline(prepare(), Ridge()), both, rows["x0"] * 3),
    ("DecisionTreeClassifier, texts", DecisionTreeClassifier(max_depth=6), alone, np.where(late, "late", "due")),
    ("RandomForestClassifier", RandomForestClassifier(20, random_state=0), alone, late.astype(int)),
    ("GradientBoostingRegressor", GradientBoostingRegressor(n_estimators=30), alone, rows["x0"] * 3),
    ("HistGradientBoostingClassifier", HistGradientBoostingClassifier(max_iter=30), alone, late.astype(int)),
]
found = []
for name, model, columns, target in cases:
    sample = rows[columns]
    with tempfile.TemporaryDirectory() as folder:
        path, began = Path(folder) / "model.pmml", time.perf_counter()
        try:
            parity = export_pmml(model.fit(sample, target), examine(sample, model), path, 1e-4)
            judged = [parity, *(part for part in parity.parts if part.judged)]
            found.append([f"PMML, {name}", "pmml", f"{parity.max_abs:.0e}", f"{max(p.max_abs for p in judged):.0e}", "",
                str(sum(p.flips for p in judged)), str(sum(p.ties for p in judged)), f"{path.stat().st_size:,}", "", ""])
        except MlnbError as error:
            found.append([f"PMML, {name}", "refused", *[""] * 7, error.problem[:160]])
print(json.dumps(found))
"""
_CELLS = (
    "import pandas as pd\nfrom sklearn.linear_model import LogisticRegression",
    "%%stage train\n"
    'rows = pd.DataFrame({"distance": [float(n * 37 % 900) for n in range(80)]})\n'
    'model = LogisticRegression().fit(rows, rows["distance"] > 450)',
    "%%deploy late --model model --sample rows",
)


def bench(place: Place) -> Table:
    """Run the cases of both formats, each in its environment."""
    python = beside(place, "boosters", "catboost>=1.2")
    trees = json.loads(spend((python, "-c", _TREES), _ROOT, place.environ)[1].splitlines()[-1])
    held = all(one["passed"] and one["exporter"] == "onnx" for one in trees)
    rows = [one["row"] for one in trees]
    if shutil.which("java") is None:
        notes = ["PMML was not measured: there is no Java on the path."]
    else:
        written, verb = _pmml(place)
        rows += written
        notes = [f"mlnb models pmml late/1: {verb}", "A PMML that disagrees is refused, and no file is written."]
        held = held and all(row[1] in ("pmml", "refused") for row in written) and "0 labels differ" in verb
    return Table("Boosted trees in ONNX, pipelines in PMML", COLUMNS, rows, notes, held)


def _pmml(place: Place) -> tuple[list[Sequence[str]], str]:
    """Return a row for each case, and what the verb says of a deployed pipeline."""
    python = beside(place, "pmml", *_PMML)
    project = place.make("pmml-project")
    write_notebook(project / "late.ipynb", _CELLS)
    try:
        spend((python, "-m", "mlnb", "deploy", "late.ipynb"), project, place.environ)
        told = spend((python, "-m", "mlnb", "models", "pmml", "late/1", "late.pmml"), project, place.environ)[1]
    finally:
        spend((python, "-m", "mlnb", "services", "stop", "late"), project, place.environ)
    if not (project / "late.pmml").read_text("utf-8").startswith("<?xml"):
        raise RuntimeError(f"no PMML was written: {told}")
    return json.loads(spend((python, "-c", _ENGINE), _ROOT, place.environ)[1].splitlines()[-1]), told.strip()
