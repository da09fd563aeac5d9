"""Fitted models of XGBoost, LightGBM and CatBoost become forests: their own dumps, read into one kind of tree.

Nothing of the libraries is imported: a fitted model brings its library. What they share is a sum of leaves; what
differs, and what the usual converters lose, is stated here:

- XGBoost rounds numbers to float32 and goes left where ``x < threshold``; a set of categories goes right
  (`src/predictor/predict_fn.h`, https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html).
- LightGBM compares in float64 and goes left where ``x <= threshold``; a set goes left. Whether a missing number is
  missing, or 0, is said by each split (`include/LightGBM/tree.h`, ``NumericalDecision``).
- CatBoost rounds to float32 and takes the second side where ``x > border``; its trees are tables of leaves.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from mlnb.errors import ModelError
from mlnb.model.forest import Floats, Forest, Tree

LIBRARIES = ("xgboost", "lightgbm", "catboost")


def is_booster(estimator: object) -> bool:
    """Say whether the estimator is of one of the libraries."""
    return type(estimator).__module__.partition(".")[0] in LIBRARIES


def fitted_names(estimator: Any, given: Sequence[str]) -> Sequence[str] | None:
    """Return the names of the columns of the fit, None if it had none; LightGBM keeps them with ``_`` for a space."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None or not type(estimator).__module__.startswith("lightgbm."):
        return names
    own = {one.replace(" ", "_"): one for one in given}
    return [own.get(str(one), str(one)) for one in names]


def forest_of(estimator: Any) -> Forest:
    """Return a fitted model as trees.

    Raises
    ------
    ModelError
        If it is not made of trees alone, or uses what is not read here; the problem names it, and is no whole sentence.
    """
    library = type(estimator).__module__.partition(".")[0]
    readers = {"xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": _catboost}
    try:
        return readers[library](estimator)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        told = f"the dump of its {library} is not as expected ({type(error).__name__}: {error})"
        raise _refusal(told) from error


def booster_splits(model: Any) -> Iterator[tuple[int, float, bool]]:
    """Yield feature, threshold and whether it is compared in float32, of each comparison of numbers; none elsewhere."""
    if not is_booster(model):
        return
    try:
        forest = forest_of(model)
    except ModelError:
        return
    for tree in forest.trees:
        for node, left in enumerate(tree.left):
            if left >= 0 and tree.members[node] is None:
                yield tree.feature[node], tree.threshold[node], forest.single


def _xgboost(estimator: Any) -> Forest:
    booster = estimator.get_booster()
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    gradient = learner["gradient_booster"]
    drops: Sequence[float] | None = None
    if gradient["name"] == "dart":
        drops, gradient = gradient["weight_drop"], gradient["gbtree"]
    elif gradient["name"] != "gbtree":
        raise _refusal(f"its booster is {gradient['name']}, which is no trees")
    model, parameters = gradient["model"], learner["learner_model_param"]
    objective = str(learner["objective"]["name"])
    link = _XGBOOST_LINKS.get(objective)
    if link is None:
        raise _refusal(f"its objective {objective} is not known here")
    targets = max(1, int(parameters["num_class"]), int(parameters.get("num_target", 1)))
    count = len(model["trees"])
    ended = getattr(estimator, "best_iteration", None) if _stopped(booster) else None
    if ended is not None and "iteration_indptr" in model:
        count = int(model["iteration_indptr"][int(ended) + 1])
    trees = []
    for at, tree in enumerate(model["trees"][:count]):
        trees.append(_xgboost_tree(tree, int(model["tree_info"][at]), 1.0 if drops is None else float(drops[at])))
    start = np.broadcast_to(_base_scores(parameters["base_score"], objective), (targets,))
    kinds = learner.get("feature_types") or []
    return Forest(
        tuple(trees),
        tuple(float(one) for one in start),
        less=True,
        single=True,
        link=link,
        categories=_xgboost_categories(model.get("cats"), kinds),
        missing=float(getattr(estimator, "missing", np.nan)),
    )


def _stopped(booster: Any) -> bool:
    return booster.attr("best_iteration") is not None


def _xgboost_tree(tree: Mapping[str, Any], target: int, weight: float) -> Tree:
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise _refusal("its trees have leaves of several outputs (multi_strategy='multi_output_tree')")
    made = Tree(target=target)
    sets = _xgboost_sets(tree)
    for at, left in enumerate(tree["left_children"]):
        condition = np.float32(tree["split_conditions"][at])
        to_default = bool(tree["default_left"][at])
        if left < 0:
            made.node(value=float(condition * np.float32(weight)))
        elif at in sets:  # the set goes right there
            made.node(int(tree["split_indices"][at]), missing_left=not to_default, members=sets[at])
            made.left[at], made.right[at] = int(tree["right_children"][at]), int(left)
        else:
            made.node(int(tree["split_indices"][at]), float(condition), missing_left=to_default)
            made.left[at], made.right[at] = int(left), int(tree["right_children"][at])
    return made


def _xgboost_sets(tree: Mapping[str, Any]) -> dict[int, Floats]:
    members = np.asarray(tree.get("categories", []), dtype=np.float64)
    nodes, firsts, sizes = (tree.get(f"categories_{name}", []) for name in ("nodes", "segments", "sizes"))
    return {node: members[first : first + size] for node, first, size in zip(nodes, firsts, sizes, strict=True)}


def _xgboost_categories(held: Mapping[str, Any] | None, kinds: Sequence[str]) -> dict[int, Sequence[object]]:
    found: dict[int, Sequence[object]] = {at: [] for at, kind in enumerate(kinds) if kind == "c"}
    for at, one in enumerate(held["enc"] if held else []):
        if at in found and one.get("values"):
            values, offsets = one["values"], one.get("offsets")
            if offsets is None:
                found[at] = list(values)
            else:
                text = bytes(value % 256 for value in values)
                found[at] = [text[first:last].decode() for first, last in pairwise(offsets)]
    return found


def _base_scores(told: str, objective: str) -> Floats:
    """Return what the sums begin with: the base scores are kept as answers, before the link."""
    scores = np.array(json.loads(told), dtype=np.float32).astype(np.float64).ravel()
    if _XGBOOST_LINKS[objective] == "sigmoid":
        return np.array([-log(1 / one - 1) for one in scores])
    if _XGBOOST_LINKS[objective] == "exp":
        return np.array([log(one) for one in scores])
    return scores


def _lightgbm(estimator: Any) -> Forest:
    dump = estimator.booster_.dump_model()
    classes = int(dump["num_class"])
    per_iteration = int(dump["num_tree_per_iteration"])
    name, _, rest = str(dump.get("objective", "")).partition(" ")
    link = _LIGHTGBM_LINKS.get(name)
    if link is None:
        raise _refusal(f"its objective {name or 'of the notebook'} is not known here")
    if name == "regression" and "sqrt" in rest.split():
        link = "square"
    options = dict(one.split(":", 1) for one in rest.split() if ":" in one)
    kinds: set[str] = set()
    trees = [_lightgbm_tree(tree, at % per_iteration, kinds) for at, tree in enumerate(dump["tree_info"])]
    if {"Zero", "NaN"} <= kinds:
        raise _refusal("some of its splits take 0 as missing, others do not")
    iterations = max(1, len(trees) // per_iteration)
    return Forest(
        tuple(trees),
        (0.0,) * max(classes, per_iteration),
        divisor=float(iterations) if dump.get("average_output") else 1.0,
        link=link,
        scale=float(options.get("sigmoid", 1.0)),
        categories={at: [] for at in _lightgbm_categories(estimator)},
        labels=tuple(dump.get("pandas_categorical") or []),
        zero_missing="Zero" in kinds,
    )


def _lightgbm_categories(estimator: Any) -> list[int]:
    """Return which features are compared as categories; the dump tells only those with splits."""
    mark = "[categorical_feature: "
    lines = estimator.booster_.model_to_string(num_iteration=1).splitlines()
    told = next((line.removeprefix(mark).rstrip("]") for line in lines if line.startswith(mark)), "")
    return [int(one) for one in told.split(",") if one]


def _lightgbm_tree(tree: Mapping[str, Any], target: int, kinds: set[str]) -> Tree:
    made = Tree(target=target)
    waiting: list[tuple[Mapping[str, Any], int, bool]] = [(tree["tree_structure"], -1, False)]
    while waiting:
        told, parent, is_left = waiting.pop()
        if "leaf_value" in told:
            if "leaf_coeff" in told:
                raise _refusal("its leaves are linear models (linear_tree)")
            node = made.node(value=float(told["leaf_value"]))
        else:
            node = _lightgbm_node(made, told, kinds)
            waiting += [(told["right_child"], node, False), (told["left_child"], node, True)]
        if parent >= 0:
            (made.left if is_left else made.right)[parent] = node
    return made


def _lightgbm_node(tree: Tree, told: Mapping[str, Any], kinds: set[str]) -> int:
    feature = int(told["split_feature"])
    if told["decision_type"] == "==":
        members = np.array(sorted(float(one) for one in str(told["threshold"]).split("||")))
        return tree.node(feature, members=members)
    threshold, missing = float(told["threshold"]), str(told["missing_type"])
    if missing == "None":  # a missing number is 0
        return tree.node(feature, threshold, missing_left=threshold >= 0)
    kinds.add(missing)
    return tree.node(feature, threshold, missing_left=bool(told["default_left"]))


def _catboost(estimator: Any) -> Forest:
    with tempfile.TemporaryDirectory(prefix="mlnb-catboost-") as folder:
        path = Path(folder) / "model.json"
        with redirect_stdout(StringIO()):  # it remarks that it has no training data
            estimator.save_model(str(path), format="json")
        dump = json.loads(path.read_bytes())
    if dump["features_info"].get("categorical_features") or dump["features_info"].get("text_features"):
        raise _refusal("its categories are encoded by CatBoost itself: encode them in a step before it")
    if "oblivious_trees" not in dump:
        raise _refusal("its trees are not symmetric (grow_policy)")
    loss = str(estimator.get_all_params().get("loss_function", "")).partition(":")[0]
    link = _CATBOOST_LINKS.get(loss)
    if link is None:
        raise _refusal(f"its loss {loss} is not known here")
    features = {
        int(one["feature_index"]): (int(one["flat_feature_index"]), one.get("nan_value_treatment") == "AsTrue")
        for one in dump["features_info"]["float_features"]
    }
    scale, start = dump["scale_and_bias"]
    biases = np.ravel(start).astype(np.float64)
    trees = [one for tree in dump["oblivious_trees"] for one in _catboost_trees(tree, features, float(scale))]
    targets = 1 + max((tree.target for tree in trees), default=0)
    begin = np.broadcast_to(biases, (targets,)) if biases.size in (1, targets) else np.zeros(targets)
    return Forest(tuple(trees), tuple(float(one) for one in begin), single=True, link=link)


def _catboost_trees(tree: Mapping[str, Any], features: Mapping[int, tuple[int, bool]], scale: float) -> Iterator[Tree]:
    """Yield for each target the tree that a table of leaves is; the first split is the lowest bit of the place."""
    splits = tree.get("splits") or []
    if any(split["split_type"] != "FloatFeature" for split in splits):
        raise _refusal("its splits are not of numbers alone")
    leaves = 2 ** len(splits)
    values = np.asarray(tree["leaf_values"], dtype=np.float64).reshape(leaves, -1)
    for target in range(values.shape[1]):
        made = Tree(target=target)

        def grow(depth: int, place: int, made: Tree = made, target: int = target) -> int:
            if depth < 0:
                return made.node(value=scale * float(values[place, target]))
            feature, above = features[int(splits[depth]["float_feature_index"])]
            node = made.node(feature, float(np.float32(splits[depth]["border"])), missing_left=not above)
            made.left[node] = grow(depth - 1, place)
            made.right[node] = grow(depth - 1, place | 1 << depth)
            return node

        grow(len(splits) - 1, 0)
        yield made


_XGBOOST_LINKS: Mapping[str, str] = {
    "binary:logistic": "sigmoid",
    "reg:logistic": "sigmoid",
    "multi:softprob": "softmax",
    "count:poisson": "exp",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
    **dict.fromkeys(
        [
            "reg:squarederror",
            "reg:squaredlogerror",
            "reg:pseudohubererror",
            "reg:absoluteerror",
            "reg:quantileerror",
            "rank:pairwise",
            "rank:ndcg",
            "rank:map",
        ],
        "identity",
    ),
}
_LIGHTGBM_LINKS: Mapping[str, str] = {
    "binary": "sigmoid",
    "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "softplus",
    "multiclass": "softmax",
    "multiclassova": "sigmoids",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
    **dict.fromkeys(
        ["regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"], "identity"
    ),
}
_CATBOOST_LINKS: Mapping[str, str] = {
    "Logloss": "sigmoid",
    "CrossEntropy": "sigmoid",
    "MultiClass": "softmax",
    "MultiClassOneVsAll": "sigmoids",
    "Poisson": "exp",
    "Tweedie": "exp",
    **dict.fromkeys(
        ["RMSE", "MAE", "Quantile", "MAPE", "Huber", "Expectile", "MultiRMSE", "YetiRank", "QueryRMSE", "PairLogit"],
        "identity",
    ),
}


def _refusal(why: str) -> ModelError:
    return ModelError(why, "Another exporter is tried.", name="onnx")
