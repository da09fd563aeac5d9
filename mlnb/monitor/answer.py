"""An answer of several values becomes the one that is watched for drift, and what is known of it once labels come.

The mean of a list of numbers (several outputs, a forecast, a multi-label's flags), the first item of a ranking, the
labels of several classifiers as one text. List columns of the inputs are not watched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlnb.model.kinds import NESTED
from mlnb.model.naming import is_missing, name_of
from mlnb.monitor.performance import Performance

#: Tasks whose watched value is a category rather than a number.
NAMED = ("classifier", "multiclassifier", "ranker")
#: Tasks whose answer is a list.
SEVERAL = (*NESTED, "ranker")


def watched(task: str, answer: object) -> object:
    """Return the one value of an answer that is watched; None where there is none."""
    if task not in SEVERAL:
        return answer
    if not isinstance(answer, list) or not answer:
        return None
    if task == "ranker":
        return answer[0]
    if task == "multiclassifier":
        return " / ".join(str(name_of(one)) for one in answer)
    known = [float(one) for one in answer if isinstance(one, int | float) and not is_missing(one)]
    return math.fsum(known) / len(known) if known else None


def ranker_performance(labels: Sequence[object], predictions: Sequence[object]) -> Performance:
    """Return how often the item that was taken came first, and its mean reciprocal rank (Voorhees 1999).

    Parameters
    ----------
    labels : sequence, shape (rows,)
        The item that was taken, as a text or as it was sent.
    predictions : sequence of list
        The items in the order that was answered. An item that is not there has the reciprocal rank 0.
    """
    ranks = [
        [name_of(one) for one in row].index(name_of(label)) + 1
        if isinstance(row, list) and name_of(label) in [name_of(one) for one in row]
        else math.inf
        for label, row in zip(labels, predictions, strict=True)
    ]
    if not ranks:
        return Performance(0, {})
    count = len(ranks)
    return Performance(
        count, {"hit_at_1": ranks.count(1) / count, "mrr": math.fsum(1 / rank for rank in ranks) / count}
    )
