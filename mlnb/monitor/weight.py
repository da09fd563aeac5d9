"""A report and the importance of the columns become the report in which what matters most to the model comes first.

Columns that drifted come before those that did not, each by drift times importance: a large change of a column that the
model hardly looks at can wait.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from mlnb.monitor.findings import Finding
from mlnb.monitor.report import Column, Report
from mlnb.monitor.text import percent

NOTABLE = 0.05


def weigh(report: Report, shares: Mapping[str, float]) -> Report:
    """Return the report with its features in the order of drift times importance.

    Parameters
    ----------
    report : Report
        Features by drift.
    shares : mapping of str to float
        Each column's part of the sum of importances, 0 to 1. A column that is not in it, and every column where the
        mapping is empty, stays where its drift puts it among those without weight.
    """
    if not any(shares.values()):
        return report

    def place(column: Column) -> tuple[bool, float, float, str]:
        drift = 0.0 if math.isnan(column.drift.distance) else column.drift.distance
        return not column.drift.drifted, -drift * shares.get(column.name, 0.0), -drift, column.name

    features = tuple(sorted(report.features, key=place))
    told = [one for one in features if one.drift.drifted and shares.get(one.name, 0.0) >= NOTABLE][:1]
    found = tuple(
        Finding(
            "importance",
            one.name,
            f"Of what drifted, {one.name} matters most to the model: {percent(shares[one.name])} of its importance.",
        )
        for one in told
    )
    return replace(report, features=features, importance=dict(shares), findings=(*report.findings, *found))
