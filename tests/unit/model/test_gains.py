"""Two models on the same rows: numbers as scikit-learn gives them, intervals that hold, slices that hold together."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score

from mlnb.errors import UsageError
from mlnb.model.answers import Scores
from mlnb.model.gains import Gains, paired_gains
from mlnb.model.kinds import Column
from mlnb.model.signature import Signature


def signature(task: str, classes: tuple[str, ...] = ()) -> Signature:
    columns = (Column("origin", "string"),)
    output = "string" if classes else "float64"
    return Signature(inputs=columns, output=output, task=task, classes=classes, probabilities=bool(classes), frame=True)


def chances(linear: np.ndarray) -> Scores:
    yes = 1 / (1 + np.exp(-linear))
    return Scores(np.where(yes > 0.5, "yes", "no").tolist(), np.column_stack([1 - yes, yes]).tolist())


def compared(
    better: float, rows: int = 600, seed: int = 0, parts: int = 4, **how: object
) -> tuple[Gains, list[object]]:
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    truth = np.where(x + random.normal(size=rows) > 0, "yes", "no")
    first, second = (chances(x + random.normal(size=rows) * noise) for noise in (1.0, 1.0 - better))
    origin = random.choice([f"o{at}" for at in range(parts)], rows)
    told = signature("classifier", ("no", "yes"))
    gains = paired_gains(told, truth, {"origin": origin}, first, second, slices=["origin"], **how)  # type: ignore[arg-type]
    return gains, [truth, origin, first, second]


def test_the_numbers_are_those_of_scikit_learn() -> None:
    gains, (truth, origin, first, second) = compared(0.6, resamples=0)
    yes = [np.array(one.probabilities)[:, 1] for one in (first, second)]
    aucs = [roc_auc_score(truth == "yes", one) for one in yes]
    whole = gains.of("auc")
    assert whole is not None
    assert (whole.first, whole.second, whole.gain) == pytest.approx((*aucs, aucs[1] - aucs[0]))
    losses = [log_loss(truth == "yes", one) for one in yes]
    loss = gains.of("log_loss")
    assert loss is not None
    assert (loss.sign, loss.gain) == (-1, pytest.approx(losses[0] - losses[1]))
    part = origin == "o2"
    sliced = gains.of("auc", "[origin=o2]")
    assert sliced is not None
    assert (sliced.rows, sliced.second) == (
        part.sum(),
        pytest.approx(roc_auc_score((truth == "yes")[part], yes[1][part])),
    )
    assert math.isnan(sliced.low)


def test_a_regressor_is_compared_by_its_errors() -> None:
    random = np.random.default_rng(1)
    truth = random.normal(size=300)
    first, second = (Scores((truth + random.normal(size=300) * width).tolist(), None) for width in (2.0, 0.5))
    gains = paired_gains(signature("regressor"), truth, {}, first, second)
    mae = gains.of("mae")
    assert mae is not None
    expected = mean_absolute_error(truth, first.predictions) - mean_absolute_error(truth, second.predictions)
    assert mae.gain == pytest.approx(expected)
    assert mae.verdict == "better"
    bias = gains.of("bias")
    assert bias is not None
    assert (math.isnan(bias.gain), bias.verdict) == (True, "undecided")


def test_the_interval_of_a_pair_is_that_of_a_plain_bootstrap() -> None:
    gains, (truth, _, first, second) = compared(0.4)
    yes = [np.array(one.probabilities)[:, 1] for one in (first, second)]
    random = np.random.default_rng(9)
    drawn = []
    for _ in range(300):
        rows = random.integers(0, len(truth), len(truth))
        late = truth[rows] == "yes"
        drawn.append(np.subtract(*(np.mean(one[rows][late][:, None] > one[rows][~late]) for one in yes[::-1])))
    whole = gains.of("auc")
    assert whole is not None
    assert whole.ends == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.013)


def test_the_intervals_of_slices_hold_together() -> None:
    together, _ = compared(0.4, 300)
    alone, _ = compared(0.4, 300, level=1 - 4 * 0.05)
    assert (together.slice_level, alone.slice_level) == pytest.approx((1 - 0.05 / 4, 0.95))
    for wide, narrow in zip(together.slices("auc"), alone.slices("auc"), strict=True):
        assert wide.ends[0] < narrow.ends[0] < narrow.gain < narrow.ends[1] < wide.ends[1]


def test_what_cannot_be_compared_row_by_row_is_refused() -> None:
    with pytest.raises(UsageError, match="answers of a ranker cannot be compared"):
        paired_gains(signature("ranker"), np.zeros(3), {}, Scores([[1.0]] * 3, None), Scores([[1.0]] * 3, None))
