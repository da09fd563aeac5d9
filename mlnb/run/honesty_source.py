"""The source of stages becomes what can be said without running it: transformers fitted too early, calls unseeded.

Only what is certain by the names in the code: whatever is not said here is found by the run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlnb.notebook.aliasing import roots
from mlnb.notebook.document import Cell
from mlnb.pipeline.graph import Pipeline, Stage
from mlnb.pipeline.setup import tree_of
from mlnb.run.honesty_finding import Finding, fitted_before_split

_SCALERS = ("StandardScaler", "MinMaxScaler", "RobustScaler", "MaxAbsScaler", "PowerTransformer", "QuantileTransformer")
_SELECTORS = ("SelectKBest", "SelectPercentile", "SelectFromModel", "RFE", "RFECV", "VarianceThreshold")
_OTHERS = ("PCA", "TruncatedSVD", "NMF", "SimpleImputer", "KNNImputer", "IterativeImputer", "TargetEncoder")
_TEXTS = ("TfidfVectorizer", "TfidfTransformer", "KBinsDiscretizer", "SplineTransformer", "LinearDiscriminantAnalysis")
_LEARNS_FROM_ROWS = frozenset({*_SCALERS, *_SELECTORS, *_OTHERS, *_TEXTS})
_SPLITS = frozenset({"train_test_split", "cross_val_score", "cross_validate", "cross_val_predict"})

_FORESTS = ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor")
_BOOSTED = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor", "GradientBoostingClassifier")
_MODELS = ("GradientBoostingRegressor", "MLPClassifier", "MLPRegressor", "SGDClassifier", "SGDRegressor", "KMeans")
_SPLITTERS = ("train_test_split", "ShuffleSplit", "StratifiedShuffleSplit", "GroupShuffleSplit", "RandomizedSearchCV")
_TREES = ("DecisionTreeClassifier", "DecisionTreeRegressor", "BaggingClassifier", "BaggingRegressor", "resample")
_TAKES_RANDOM_STATE = frozenset({*_FORESTS, *_BOOSTED, *_MODELS, *_SPLITTERS, *_TREES, "sample", "permutation_test"})
_IF_SHUFFLED = frozenset({"KFold", "StratifiedKFold", "StratifiedGroupKFold"})
_GENERATORS = frozenset({"default_rng", "RandomState", "Random", "PCG64", "SeedSequence"})
_DRAWS = frozenset({"rand", "randn", "random", "normal", "uniform", "choice", "shuffle", "permutation", "randint"})
_SEEDS = ("random_state", "seed", "random_seed")


@dataclass(frozen=True, slots=True)
class Unseeded:
    """A call that draws random numbers without a seed; `how` says how it would be given one."""

    what: str
    cell: int
    line: int
    how: str


@dataclass(frozen=True, slots=True)
class _Made:
    """A transformer's ``fit_transform``: where, and by what."""

    by: str
    stage: str
    cell: int
    line: int


def early_transformers(pipeline: Pipeline) -> Iterator[Finding]:
    """Yield a finding for each ``fit_transform`` whose result is split for testing later in the notebook."""
    kinds: dict[str, str] = {}
    made: dict[str, _Made] = {}
    told: set[_Made] = set()
    steps = [(stage, cell) for stage in pipeline.stages if stage.kind == "stage" for cell in stage.cells]
    for stage, cell in sorted(steps, key=lambda step: step[1].number):
        for statement in tree_of(cell).body:
            for call in (node for node in ast.walk(statement) if isinstance(node, ast.Call)):
                name = _called(call)
                if name not in _SPLITS:
                    continue
                for early in dict.fromkeys(made[root] for root in _mentioned(call) if root in made):
                    if early not in told:
                        told.add(early)
                        yield _early(early, name, stage.name, cell.number, call.lineno)
            _follow(statement, stage, cell, kinds, made)


def unseeded(pipeline: Pipeline, stage: Stage) -> tuple[Unseeded, ...]:
    """Return the calls in a stage, then in the setup, that draw random numbers without a seed."""
    return tuple(found for cell in (*stage.cells, *pipeline.setup) for found in _unseeded(cell))


def _follow(statement: ast.stmt, stage: Stage, cell: Cell, kinds: dict[str, str], made: dict[str, _Made]) -> None:
    """Note what an assignment makes: a transformer, transformed rows, or something made of those."""
    if not isinstance(statement, ast.Assign):
        return
    names = [name for target in statement.targets for name in _bound(target)]
    value = statement.value
    by = _fit_transform(value, kinds)
    source = next((made[root] for root in _mentioned(value) if root in made), None)
    found = _Made(by, stage.name, cell.number, statement.lineno) if by else source
    whole = all(not isinstance(target, (ast.Subscript, ast.Attribute)) for target in statement.targets)
    for name in names:
        if isinstance(value, ast.Call) and whole:
            kinds[name] = _called(value)
        if found is not None and not (isinstance(value, ast.Call) and _called(value) in _SPLITS):
            made[name] = found
        elif whole:
            made.pop(name, None)


def _fit_transform(value: ast.expr, kinds: dict[str, str]) -> str:
    """Return the transformer whose ``fit_transform`` an expression is, maybe inside a ``pd.DataFrame(...)``."""
    for node in ast.walk(value):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="fit_transform")):
                kind = kinds.get(name, "")
            case ast.Call(func=ast.Attribute(value=ast.Call() as made, attr="fit_transform")):
                kind = _called(made)
            case _:
                continue
        if kind in _LEARNS_FROM_ROWS:
            return kind
    return ""


def _early(early: _Made, split: str, stage: str, cell: int, line: int) -> Finding:
    return fitted_before_split(
        early,
        f"{early.by} is fitted in stage {early.stage!r}, cell {early.cell}, line {early.line} on rows that "
        f"{split} parts only later (stage {stage!r}, cell {cell}, line {line}): it sees what is tested on.",
    )


def _unseeded(cell: Cell) -> Iterator[Unseeded]:
    calls = [node for node in ast.walk(tree_of(cell)) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        name, given = _called(call), {keyword.arg: keyword.value for keyword in call.keywords}
        if None in given or any(seed in given for seed in _SEEDS):
            continue
        if name in _TAKES_RANDOM_STATE or (name in _IF_SHUFFLED and _is_true(given.get("shuffle"))):
            if not isinstance(call.func, ast.Attribute) or not set(roots(call.func.value)) & {"random", "rng"}:
                yield Unseeded(name, cell.number, call.lineno, "random_state=...")
        elif name in _GENERATORS and not call.args:
            yield Unseeded(f"{name}()", cell.number, call.lineno, f"{name}(0)")
        elif name in _DRAWS and isinstance(call.func, ast.Attribute) and _is_global(call.func.value):
            text = ast.unparse(call.func)
            yield Unseeded(text, cell.number, call.lineno, "np.random.default_rng(0)" if "." in text else "random.seed")


def _is_global(node: ast.expr) -> bool:
    """Say whether a node is ``random`` or ``np.random``, whose generators are shared by everybody."""
    return (isinstance(node, ast.Name) and node.id == "random") or (
        isinstance(node, ast.Attribute) and node.attr == "random"
    )


def _is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _mentioned(node: ast.AST) -> Sequence[str]:
    return [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]


def _bound(target: ast.expr) -> Sequence[str]:
    if isinstance(target, (ast.Tuple, ast.List)):
        return [name for part in target.elts for name in _bound(part)]
    return roots(target)
