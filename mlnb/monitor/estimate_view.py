"""Estimates become lines of text and a table of HTML, beside what was realised and what "unchanged" would say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from mlnb.monitor.cbpe import Estimate
from mlnb.monitor.estimate import CAUTION
from mlnb.monitor.performance import Performance
from mlnb.monitor.report import Report
from mlnb.monitor.span import instant
from mlnb.monitor.text import METRIC_NAMES, number

_LATEST = 31
_HEADS = ("metric", "estimated", "95 % interval", "realised", "labels", "unchanged")


def estimate_lines(report: Report) -> Iterator[str]:
    """Yield what is to be expected of each metric, beside what was realised; nothing where nothing is estimated."""
    found = report.estimates
    if not found.overall:
        return
    for name, one in found.overall.items():
        realised = _realised(report.overall, name)
        labelled = f"realised {realised} on {report.overall.rows:,} labelled" if realised != "-" else "not realised yet"
        yield (
            f"estimated {_named(name)} {number(one.value)} ({number(one.lower)} to {number(one.upper)}); {labelled}; "
            f"unchanged would be {number(found.unchanged.get(name, float('nan')))}"
        )
    yield CAUTION


def estimate_section(report: Report) -> str:
    """Return the estimates as a part of a page: over all windows, then by window; empty where there are none."""
    found = report.estimates
    if not found.overall:
        return ""
    total = _table("all windows", [("all windows", found.overall, report.overall)], found.unchanged)
    latest = list(zip(report.windows, found.windows, report.performance, strict=True))[-_LATEST:]
    rows = [(f"{instant(window.start):%Y-%m-%d %H:%M}", each, realised) for window, each, realised in latest]
    windows = _table("from", rows, found.unchanged)
    taught = f"By {found.reference_rows:,} labelled reference rows. {escape(CAUTION)}"
    return (
        f'<section class="card"><h2>Estimated performance</h2><p class="quiet">{taught}</p>{total}'
        f"<details><summary>The latest {len(rows)} windows</summary>{windows}</details></section>"
    )


def _table(
    head: str, rows: Sequence[tuple[str, Mapping[str, Estimate], Performance]], unchanged: Mapping[str, float]
) -> str:
    heads = "".join(f'<th style="text-align:left;padding-right:18px">{name}</th>' for name in (head, *_HEADS))
    lines = []
    for when, each, realised in rows:
        for name, one in each.items():
            cells = (
                when,
                _named(name),
                number(one.value),
                f"{number(one.lower)} to {number(one.upper)}",
                _realised(realised, name),
                f"{realised.rows:,}",
                number(unchanged.get(name, float("nan"))),
            )
            lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _realised(performance: Performance, name: str) -> str:
    return number(performance.metrics.get(name, float("nan")))


def _named(name: str) -> str:
    return METRIC_NAMES.get(name, name).removesuffix(" (right)")
