"""Planted leaks, and clean twins of each: what estimators are seen to do becomes findings, or nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlnb.project import Project
from mlnb.run.cells import code_name
from mlnb.run.history import list_runs
from mlnb.run.honesty import examine
from mlnb.run.honesty_finding import Finding
from mlnb.run.honesty_kernel import Observer
from mlnb.run.honesty_leaks import Noted, leaks
from mlnb.run.honesty_notes import read_notes
from mlnb.run.honesty_rows import row_digests, same_rows, shared
from mlnb.run.honesty_source import early_transformers
from mlnb.run.honesty_targets import suspects
from mlnb.run.options import RunOptions
from mlnb.run.values import numbers

Write = Callable[..., Path]

ESTIMATORS = """
import numpy as np
import pandas as pd

class Mean:
    def fit(self, X, y):
        self.mean_ = float(np.mean(y))
        return self
    def predict(self, X):
        return np.full(len(X), self.mean_)

class Scaler:
    def fit(self, X, y=None):
        self.mean_ = np.mean(np.asarray(X), axis=0)
        return self
    def transform(self, X):
        return np.asarray(X) - self.mean_
    def fit_transform(self, X, y=None):
        return self.fit(X).transform(X)

class Plain(Scaler):
    def fit(self, X, y=None):
        self.n_features_in_ = np.shape(X)[1]
        return self
    def transform(self, X):
        return np.asarray(X) * 2.0

rng = np.random.default_rng(3)
X = rng.normal(size=(120, 4))
y = (rng.normal(size=120) > 0).astype(int)
frame = pd.DataFrame(X, columns=list("abcd"))
train, test = slice(0, 80), slice(80, 120)
"""


@pytest.fixture
def found(tmp_path: Path) -> Callable[..., tuple[Finding, ...]]:
    """Return a function that runs cells among observed estimators and returns what is found in them."""

    def run(*cells: str) -> tuple[Finding, ...]:
        namespace: dict[str, object] = {"__name__": "cells"}
        exec(ESTIMATORS, namespace)
        observer = Observer(tmp_path)
        for kind in ("Mean", "Scaler", "Plain"):
            observer.wrap(namespace[kind])  # type: ignore[arg-type]
        for cell in cells:
            exec(compile(cell, code_name(cell), "exec"), namespace)
        observer.save()
        notes, arrays = read_notes(tmp_path)
        places = {code_name(cell): number for number, cell in enumerate(cells, 1)}
        return leaks([Noted(note, "s", places[note.code], note.line, arrays) for note in notes])

    return run


CLEAN = {
    "held out rows": ("model = Mean().fit(X[train], y[train])\nmodel.predict(X[test])",),
    "a training score beside an honest one": (
        "model = Mean().fit(X[train], y[train])\nmodel.predict(X[train])",
        "model.predict(X[test])",
    ),
    "a scaler that saw the training rows": (
        "scaler = Scaler().fit(X[train])\nA, B = scaler.transform(X[train]), scaler.transform(X[test])",
        "Mean().fit(A, y[train]).predict(B)",
    ),
    "a transformer that learns nothing": (
        "A = Plain().fit(X).transform(X)",
        "Mean().fit(A[train], y[train]).predict(A[test])",
    ),
    "folds": (
        "for k in range(4):\n    held = np.arange(120) % 4 == k\n    Mean().fit(X[~held], y[~held]).predict(X[held])",
    ),
    "rows that are equal by nature": (
        "X = rng.integers(0, 2, size=(120, 4))\nMean().fit(X[train], y[train]).predict(X[test])",
    ),
    "one duplicate": ("X[100] = X[0]\nMean().fit(X[train], y[train]).predict(X[test])",),
    "a transformer alone": ("Scaler().fit(X).transform(X)",),
}

LEAKY = {
    "rows on both sides": (
        ("model = Mean().fit(X[train], y[train])", "\nmodel.predict(X[70:])"),
        ("shared rows", 2, 2, 10 / 50, "10 rows of 50 (20.0%) on which Mean is scored in stage 's', cell 2, line 2"),
    ),
    "only ever the training rows": (
        ("model = Mean().fit(X, y)\nmodel.predict(X)",),
        ("shared rows", 1, 2, 1.0, "on nothing but the 120 rows that it was fitted on in stage 's', cell 1, line 1"),
    ),
    "a target in disguise": (
        ("frame['late'] = np.where(y == 1, 'yes', 'no')", "model = Mean().fit(frame[train], y[train])"),
        ("target among features", 2, 1, 1.0, "The column 'late' of what Mean is fitted on in stage 's', cell 2"),
    ),
    "a scaler that saw everything": (
        ("A = Scaler().fit_transform(X)", "Mean().fit(A[train], y[train]).predict(A[test])"),
        ("fitted before the split", 1, 1, 1.0, "Scaler was fitted in stage 's', cell 1, line 1 on 120 rows, 40 of"),
    ),
    "a scaler on some columns of a frame": (
        (
            "some = ['b', 'd']\nscaler = Scaler()\nframe[some] = scaler.fit_transform(frame[some])",
            "Mean().fit(frame[train], y[train]).predict(frame[test])",
        ),
        ("fitted before the split", 1, 3, 1.0, "40 of which are scored by Mean in stage 's', cell 2, line 1"),
    ),
    "two transformations, the first too early": (
        (
            "A = Scaler().fit_transform(X)",
            "late = Scaler().fit(A[train])",
            "Mean().fit(late.transform(A[train]), y[train]).predict(late.transform(A[test]))",
        ),
        ("fitted before the split", 1, 1, 1.0, "cell 1, line 1 on 120 rows, 40 of which"),
    ),
}


@pytest.mark.parametrize("name", CLEAN)
def test_honest_work_is_not_blamed(name: str, found: Callable[..., tuple[Finding, ...]]) -> None:
    assert found(*CLEAN[name]) == ()


@pytest.mark.parametrize("name", LEAKY)
def test_a_planted_leak_is_found_with_its_place_and_amount(
    name: str, found: Callable[..., tuple[Finding, ...]]
) -> None:
    cells, (check, cell, line, amount, said) = LEAKY[name]
    (finding,) = found(*cells)
    assert (finding.check, finding.cell, finding.line) == (check, cell, line)
    assert finding.amount == pytest.approx(amount)
    assert said in finding.problem
    assert finding.remedy.endswith(".")


def test_equal_rows_have_equal_digests_whatever_holds_them() -> None:
    frame = pd.DataFrame({"n": [1, 2, 1], "x": [0.5, np.nan, 0.5], "t": ["a", "b", "a"]})
    digests = row_digests(frame)
    assert digests is not None
    assert digests[0] == digests[2] != digests[1]
    assert np.array_equal(row_digests(frame.to_numpy()[:, :2].astype(float)), row_digests(frame[["n", "x"]]))
    assert np.array_equal(row_digests([[1.0, -0.0]]), row_digests(np.array([[1, 0]])))
    assert row_digests(3) is None


def test_what_is_shared_by_nature_is_measured_on_the_data_itself() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 4, size=(400, 2))
    by_nature = shared(*(row_digests(part) for part in (coarse[:300], coarse[300:])))  # type: ignore[arg-type]
    assert (by_nature.rows, by_nature.scored) == (100, 100)
    assert by_nature.expected == pytest.approx(100, rel=0.02)
    assert not by_nature.beyond_chance
    fine = rng.normal(size=(400, 2))
    leak = shared(*(row_digests(part) for part in (fine[:300], fine[290:])))  # type: ignore[arg-type]
    assert (leak.rows, leak.beyond_chance) == (10, True)
    digests = row_digests(fine)
    assert digests is not None
    assert same_rows(digests, digests[::-1])
    assert not same_rows(digests, digests[:200])


@pytest.mark.parametrize(
    ("column", "target", "strength"),
    [
        (lambda y, x: y, "classes", 1.0),
        (lambda y, x: 1 - y, "classes", 1.0),
        (lambda y, x: np.where(y == 1, "on", "off"), "classes", 1.0),
        (lambda y, x: y + 0.1 * x, "classes", 1.0),
        (lambda y, x: x, "numbers", 1.0),
        (lambda y, x: -np.exp(x), "numbers", 1.0),
        (lambda y, x: np.abs(x), "numbers", 0.0),
        (lambda y, x: y + 2.0 * x, "classes", 0.0),
        (lambda y, x: np.arange(len(x)), "classes", 0.0),
        (lambda y, x: [f"id {n}" for n in range(len(x))], "classes", 0.0),
        (lambda y, x: np.zeros(len(x)), "numbers", 0.0),
    ],
)
def test_a_column_is_suspect_where_it_alone_gives_the_target_away(
    column: Callable[..., object], target: str, strength: float
) -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, size=200)
    y = (rng.normal(size=200) > 0).astype(int)
    features = pd.DataFrame({"other": rng.normal(size=200), "it": column(y, x)})
    found = suspects(features, y if target == "classes" else x)
    assert [(one.column, round(one.strength, 3)) for one in found] == ([("it", strength)] if strength else [])


def test_few_rows_prove_nothing() -> None:
    y = np.array([0, 1] * 10)
    assert suspects(pd.DataFrame({"copy": y}), y) == ()


SKLEARN = """
import sys, numpy as np
from pathlib import Path
from mlnb.run import honesty_kernel
from mlnb.run.cells import code_name
from mlnb.run.honesty_notes import read_notes
observer = honesty_kernel.Observer(Path(sys.argv[1]))
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
observer.wrap_known_classes()
rng = np.random.default_rng(0)
X, y = rng.normal(size=(90, 5)), np.arange(90) % 2
cell = '''
pipe = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[:60], y[:60])
pipe.predict_proba(X[60:])
search = GridSearchCV(make_pipeline(StandardScaler(), SVC()), {"svc__C": [1, 2]}, cv=2).fit(X[:60], y[:60])
search.best_estimator_.predict(X[60:])
cross_val_score(LogisticRegression(), X, y, cv=3)
S = SelectKBest(k=2).fit_transform(X, y)
cross_val_score(LogisticRegression(), S, y, cv=3)
'''
exec(compile(cell, code_name(cell), "exec"))
observer.save()
from mlnb.run.honesty_leaks import Noted, leaks
notes, arrays = read_notes(Path(sys.argv[1]))
print(len([note for note in notes if note.act == "fit"]))
for finding in leaks([Noted(note, "s", 1, note.line, arrays) for note in notes]):
    print(finding.line, finding.check, finding.problem)
"""


def test_pipelines_searches_and_cross_validation_are_understood(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SKLEARN, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    fits, finding = done.stdout.strip().split("\n")
    assert int(fits) == 1 + 1 + 3 + 1 + 3
    assert finding.startswith(
        "7 fitted before the split SelectKBest was fitted in stage 's', cell 1, line 7 on 90 rows"
    )


def test_a_transformer_before_the_split_is_seen_in_the_source_alone(user_notebook: Write) -> None:
    path = user_notebook(
        "from sklearn.model_selection import train_test_split\nfrom sklearn.preprocessing import StandardScaler",
        "%%stage prepare\nscaler = StandardScaler()\nX = scaler.fit_transform([[1.0], [2.0]])\nZ = X * 2",
        "%%stage split\nA, B = train_test_split(Z)",
        "%%stage honest\nparts = train_test_split([[1.0], [2.0]])\nC = StandardScaler().fit_transform(parts[0])",
    )
    (finding,) = early_transformers(Project(path.parent).plan(path))
    assert (finding.stage, finding.cell, finding.line) == ("prepare", 2, 3)
    assert "StandardScaler is fitted in stage 'prepare', cell 2, line 3" in finding.problem
    assert "train_test_split parts only later (stage 'split', cell 3, line 2)" in finding.problem


def test_a_second_run_finds_leaks_across_stages_and_what_chance_decides(user_notebook: Write) -> None:
    path = user_notebook(
        "import numpy as np\n\n" + ESTIMATORS[ESTIMATORS.index("class Mean") : ESTIMATORS.index("class Scaler")],
        "%%stage train\nrows = np.random.default_rng(0).normal(size=(60, 2))\nnoise = float(np.random.normal())\n"
        "model = Mean().fit(rows[:40], rows[:40, 0] + noise)\nbag = {'fixed': 3}\n"
        "steady = Mean().fit(rows, (rows ** 2).sum(axis=1))",
        "%%stage evaluate --metrics score\nscore = float(model.predict(rows[30:]).mean()) + bag['fixed'] + steady.mean_\n"
        "first = rows[0]\nfirst += 1.0\n(lambda held: held)(bag)['fixed'] = 4",
    )
    project = Project(path.parent)
    record = project.run(path)
    assert record.state == "done"
    changed = " ".join(record.stage("evaluate").warnings)
    assert "'rows'" in changed, "a view that was changed in place, which no spelling tells"
    assert "'bag'" in changed, "a dictionary that was changed through a function's result"
    found = examine(project.plan(path), record, project.state, lambda options: project.run(path, options=options))
    assert [(one.check, one.stage, one.cell) for one in found] == [
        ("target among features", "train", 2),
        ("shared rows", "evaluate", 3),
        ("chance", "train", 2),
        ("chance", "evaluate", 3),
    ]
    overlap, train, evaluate = found[1:]
    assert overlap.amount == pytest.approx(10 / 30)
    assert "line 2 are among those it was fitted on in stage 'train', cell 2, line 4" in overlap.problem
    assert train.problem.startswith("Another seed changes what stage 'train' gives: ")
    assert "model: " in train.problem
    assert "steady" not in train.problem
    assert "`np.random.normal` in cell 2, line 3" in train.remedy
    assert evaluate.remedy == "It takes 'model' from stage 'train', which changes: begin there."
    assert evaluate.amount == pytest.approx(_change(project, "score"), rel=1e-6)
    again = project.run(path, options=RunOptions())
    assert {stage.state for stage in again.stages} == {"cached"}
    assert again.stage("evaluate").artifacts == record.stage("evaluate").artifacts


def _change(project: Project, name: str) -> float:
    """Return how far the two runs of a project are apart, by their own numbers."""
    one, other = (numbers(run, project.state.files)[name] for run in list_runs(project.state)[:2])
    return abs(one - other) / max(abs(one), abs(other))
