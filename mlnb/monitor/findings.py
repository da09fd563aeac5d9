"""The counts of a report become findings: one sentence each about what differs from the reference.

A finding states an effect and is no alarm: shares below 1 % and changes that sampling explains are not reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mlnb.monitor.compare import Drift
from mlnb.monitor.feature import Categorical, Feature, Numeric
from mlnb.monitor.text import counted, number, percent
from mlnb.monitor.window import Tally, Window

NOTABLE_SHARE = 0.01
_SIGMAS = 3
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a person should know.

    Attributes
    ----------
    kind : str
        ``"drift"``, ``"prediction"``, ``"missing"``, ``"unseen"``, ``"range"``, ``"type"``, ``"errors"``,
        ``"redacted"``, ``"labels"``, ``"importance"`` or ``"concept"``.
    feature : str
        The column, or ``""``.
    sentence : str
        What was found, with its numbers.
    """

    kind: str
    feature: str
    sentence: str


def feature_findings(feature: Feature, tally: Tally, drift: Drift, *, kind: str = "drift") -> Iterator[Finding]:
    """Yield what is notable about one column; `kind` is ``"prediction"`` for the answers themselves."""
    name = feature.name
    if tally.redacted:
        where = "in every prediction" if tally.rows == 0 else f"in {counted(tally.redacted, 'prediction')}"
        yield Finding("redacted", name, f"{name} is redacted in the log {where}, so it is not compared there.")
    if tally.rows == 0:
        return
    if drift.drifted:
        yield Finding(kind, name, _drift_sentence(feature, tally, drift))
    yield from _missing(feature, tally)
    if tally.unusable:
        yield Finding(
            "type", name, f"{name} held something that is not a number in {counted(tally.unusable, 'prediction')}."
        )
    if isinstance(feature, Categorical):
        yield from _unseen(feature, tally)
    else:
        yield from _range(feature, tally)


def error_findings(total: Window) -> Iterator[Finding]:
    """Yield how many requests were refused or failed."""
    if not total.errors:
        return
    statuses = ", ".join(f"HTTP {status}: {count:,}" for status, count in sorted(total.statuses.items()))
    message = f" Among the messages: {total.messages[0].rstrip('.')}." if total.messages else ""
    share = percent(total.errors / total.rows)
    yield Finding("errors", "", f"{share} of all rows were refused or failed ({statuses}).{message}")


def label_findings(given: int, joined: int) -> Iterator[Finding]:
    """Yield how many labels belong to none of the predictions read."""
    if given > joined:
        yield Finding("labels", "", f"{given - joined:,} of {given:,} labels belong to none of the predictions read.")


def _drift_sentence(feature: Feature, tally: Tally, drift: Drift) -> str:
    chance = f"chance alone {drift.chance:.2f}"
    opening = f"{feature.name} drifted by {drift.distance:.2f} (Jensen-Shannon; {chance})"
    if isinstance(feature, Categorical):
        category, before, after = _most_moved(feature, tally)
        return f"{opening}: {category} went from {percent(before)} to {percent(after)}."
    rows = int(tally.counts.sum())
    if not rows:
        return f"{opening}: it has no value any more."
    return f"{opening}: its mean went from {number(feature.mean)} to {number(float(tally.sums.sum()) / rows)}."


def _most_moved(feature: Categorical, tally: Tally) -> tuple[str, float, float]:
    labels = [*(repr(category) for category in feature.categories), "other values", "missing"]
    before = [count / max(feature.rows, 1) for count in (*feature.counts, feature.other, feature.missing)]
    after = [count / tally.rows for count in (*tally.counts.tolist(), tally.missing)]
    return max(zip(labels, before, after, strict=True), key=lambda entry: abs(entry[2] - entry[1]))


def _missing(feature: Feature, tally: Tally) -> Iterator[Finding]:
    before, after = feature.missing / max(feature.rows, 1), tally.missing / tally.rows
    if tally.missing == tally.rows and before < 1:
        yield Finding("missing", feature.name, f"{feature.name} is missing in every prediction.")
        return
    pooled = (feature.missing + tally.missing) / max(feature.rows + tally.rows, 1)
    noise = _SIGMAS * math.sqrt(pooled * (1 - pooled) * (1 / max(feature.rows, 1) + 1 / tally.rows))
    if abs(after - before) > max(NOTABLE_SHARE, noise):
        shares = f"{percent(after)} of the predictions, against {percent(before)} in the reference"
        yield Finding("missing", feature.name, f"{feature.name} is missing in {shares}.")


def _unseen(feature: Categorical, tally: Tally) -> Iterator[Finding]:
    unseen: Mapping[str, int] = tally.unseen
    if feature.other or not unseen:
        return
    ranked = sorted(unseen, key=lambda name: (-unseen[name], name))
    named = _list(ranked)
    count = int(tally.counts[-1])
    noun = "a value" if len(ranked) == 1 else f"{len(ranked)} values"
    yield Finding(
        "unseen",
        feature.name,
        f"{feature.name} has {noun} that the reference never had, in {counted(count, 'prediction')}: {named}.",
    )


def _range(feature: Numeric, tally: Tally) -> Iterator[Finding]:
    outside = tally.below + tally.above
    if outside / tally.rows <= NOTABLE_SHARE:
        return
    known = f"{number(feature.minimum)} to {number(feature.maximum)}"
    reached = f"{number(tally.minimum)} to {number(tally.maximum)}"
    share = f"{percent(outside / tally.rows)} of the predictions"
    sentence = f"{feature.name} left the reference's range of {known} in {share}: it now spans {reached}."
    yield Finding("range", feature.name, sentence)


def _list(ranked: Iterable[str]) -> str:
    entries = [repr(name) for name in ranked]
    more = len(entries) - _NAMED
    return ", ".join(entries[:_NAMED]) + (f" and {more} more" if more > 0 else "")
