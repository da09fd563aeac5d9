"""A version's sample and as many rows of the log become two measures of what no column shows alone: the joint law.

*Reconstruction*: principal components of one half of the sample; how much of a row they cannot tell, of the other half
and of the log. Columns that move against each other are told worse, although each is as it was. *Domain*: how well a
classifier, which does not know the row it is asked about, tells rows of the log from rows of the sample; 0.5 is not at
all. It sees any difference that its trees can; the components see linear ones, and say that something fits no more.

Numbers are standardised by the sample, categories become one column for each of the sample's 20 most frequent, a
missing value is the sample's mean. scikit-learn does the work; both are deterministic.

References: Jackson (1991), A User's Guide to Principal Components, chapter 2 (the residual); Lopez-Paz, Oquab (2017),
Revisiting Classifier Two-Sample Tests, ICLR; of equal sources the area has the law of Mann, Whitney (1947), Ann. Math.
Stat. 18.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlnb.errors import MonitorError
from mlnb.monitor.feature import Categorical, Feature
from mlnb.monitor.findings import Finding
from mlnb.monitor.reference import Reference
from mlnb.monitor.values import Floats, names, numbers

LEAST_ROWS = 50
EXPLAINED = 0.8
"""Share of the variance that the components are to explain."""
RECONSTRUCTION_TOLERANCE = 0.1
"""Change of the mean error, as a share, that is called practically irrelevant."""
DOMAIN_TOLERANCE = 0.05
"""Area above 0.5 that is called practically irrelevant."""
_ENCODED = 20
_FOLDS = 5
_Z99 = 2.5758293035489004
_Z95_ABOVE = 1.6448536269514722
_BOUND = 6.0  # standard deviations; a single wild value is the columns' own matter


@dataclass(frozen=True, slots=True)
class Joint:
    """How rows of the log differ from those of the sample when all columns are taken together.

    Attributes
    ----------
    reference_rows, rows : int
        Rows of the sample and of the log.
    components : int
        Principal components that are kept.
    reconstruction, lower, upper : float
        Mean error of the log's rows by that of the sample's, 1 is unchanged, and its 99 % interval.
    domain : float
        Area under the ROC curve of the domain classifier.
    chance : float
        The area that equal sources exceed in one of twenty comparisons.
    """

    reference_rows: int
    rows: int
    components: int
    reconstruction: float
    lower: float
    upper: float
    domain: float
    chance: float

    @property
    def reconstruction_drifted(self) -> bool:
        """Whether the error changed by more than the tolerance and than chance."""
        return (self.lower > 1 or self.upper < 1) and abs(self.reconstruction - 1) > RECONSTRUCTION_TOLERANCE

    @property
    def domain_drifted(self) -> bool:
        """Whether the rows can be told apart by more than the tolerance and than chance."""
        return self.domain > self.chance and self.domain > 0.5 + DOMAIN_TOLERANCE

    def to_json(self) -> dict[str, object]:
        """Return the measures as a JSON object."""
        return {
            "reference_rows": self.reference_rows,
            "rows": self.rows,
            "reconstruction": {
                "ratio": _finite(self.reconstruction),
                "lower": _finite(self.lower),
                "upper": _finite(self.upper),
                "components": self.components,
                "drifted": self.reconstruction_drifted,
            },
            "domain": {"auc": self.domain, "chance": self.chance, "drifted": self.domain_drifted},
        }

    def sentence(self) -> str:
        """Return both measures in one sentence."""
        error = f"reconstruction error {self.reconstruction:.2f} ({self.lower:.2f} to {self.upper:.2f}; 1 is unchanged)"
        told = f"domain classifier {self.domain:.2f} (chance alone {self.chance:.2f})"
        return f"all columns together, {self.rows:,} rows of each side: {error}, {told}"

    def findings(self) -> list[Finding]:
        """Return one sentence for each measure that drifted."""
        found = []
        if self.reconstruction_drifted:
            told = f"{self.reconstruction:.2f} times as large, {self.lower:.2f} to {self.upper:.2f}"
            sentence = (
                f"The columns belong together in another way: the error of {self.components} principal components"
            )
            found.append(Finding("joint", "", f"{sentence} is {told} (99 %)."))
        if self.domain_drifted:
            told = f"an area under the ROC curve of {self.domain:.2f}; chance alone {self.chance:.2f}"
            found.append(Finding("joint", "", f"A classifier tells what was asked from the sample with {told}."))
        return found


def compare_joint(
    reference: Reference, sample: Mapping[str, Sequence[object]], rows: Mapping[str, Sequence[object]]
) -> Joint:
    """Return how rows differ from a sample, all watched columns together.

    Parameters
    ----------
    reference : Reference
        Says which columns are watched, and how.
    sample, rows : mapping of str to sequence, each of shape (rows,)
        Values by column; a column that is not there is missing in every row. Of the larger side as many rows are taken
        as the smaller one has, evenly.

    Raises
    ------
    MonitorError
        If either side has fewer than `LEAST_ROWS` rows, or no column has two different values in the sample.
    """
    sizes = [max((len(values) for values in side.values()), default=0) for side in (sample, rows)]
    if min(sizes) < LEAST_ROWS:
        raise MonitorError(
            f"The columns cannot be compared together: there are {sizes[0]:,} rows of the sample and {sizes[1]:,} of "
            f"the log, and {LEAST_ROWS} of each are needed.",
            "Wait for more predictions, or deploy with a larger sample.",
        )
    first, second = (
        _evenly(_raw(reference, side, size), min(sizes)) for side, size in zip((sample, rows), sizes, strict=True)
    )
    usable = first.std(axis=0) > 0
    if not usable.any():
        raise MonitorError(
            "No column of the sample has two different values, so nothing can be compared together.",
            "Deploy with a larger sample.",
        )
    mean, deviation = first[:, usable].mean(axis=0), first[:, usable].std(axis=0)
    first, second = (np.clip((side[:, usable] - mean) / deviation, -_BOUND, _BOUND) for side in (first, second))
    components, ratio, lower, upper = _reconstruction(first, second)
    return Joint(min(sizes), min(sizes), components, ratio, lower, upper, _domain(first, second), _chance(min(sizes)))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _raw(reference: Reference, side: Mapping[str, Sequence[object]], size: int) -> Floats:
    """Return the watched columns as numbers, shape (rows, columns)."""
    columns = [_encoded(feature, side.get(feature.name, [None] * size)) for feature in reference.features]
    return np.hstack([np.empty((size, 0)), *columns])


def _encoded(feature: Feature, values: Sequence[object]) -> Floats:
    if isinstance(feature, Categorical):
        found = np.array([name if name is not None else "" for name in names(values)], dtype=object)
        return np.column_stack([np.empty((found.size, 0)), *(found == name for name in feature.categories[:_ENCODED])])
    floats, _ = numbers(values)
    known = np.where(np.isfinite(floats), floats, 0.0 if math.isnan(feature.mean) else feature.mean)
    return known[:, None]


def _evenly(rows: Floats, count: int) -> Floats:
    return rows[np.arange(count) * len(rows) // count]


def _reconstruction(first: Floats, second: Floats) -> tuple[int, float, float, float]:
    """Return the components, and the ratio of the mean errors with its interval (delta method, on the logarithm)."""
    from sklearn.decomposition import PCA

    fitted, held = first[::2], first[1::2]
    model = PCA(EXPLAINED, svd_solver="full").fit(fitted)
    before, after = (
        np.linalg.norm(side - model.inverse_transform(model.transform(side)), axis=1) for side in (held, second)
    )
    if before.mean() <= 1e-9:  # as many components as columns: nothing is left untold
        ratio = 1.0 if after.mean() <= 1e-9 else math.inf
        return int(model.n_components_), ratio, ratio, ratio
    spread = math.sqrt(
        sum(float(one.var(ddof=1)) / one.size / max(float(one.mean()) ** 2, 1e-18) for one in (before, after))
    )
    ratio = float(after.mean() / before.mean())
    return int(model.n_components_), ratio, ratio * math.exp(-_Z99 * spread), ratio * math.exp(_Z99 * spread)


def _domain(first: Floats, second: Floats) -> float:
    """Return the mean area over folds: each is scored by a classifier that has seen none of its rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from threadpoolctl import threadpool_limits

    rows = np.vstack([first, second])
    of_log = np.repeat([0, 1], [len(first), len(second)])
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    model = HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=8, random_state=0)
    with threadpool_limits(1):  # for so few rows threads wait for each other
        return float(cross_val_score(model, rows, of_log, scoring="roc_auc", cv=folds).mean())


def _chance(count: int) -> float:
    """Return the 95 % point of the area of equal sources, of as many rows of each."""
    return min(1.0, 0.5 + _Z95_ABOVE * math.sqrt((2 * count + 1) / (12 * count * count)))
