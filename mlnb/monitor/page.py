"""A report and its plot become one HTML page that needs nothing else: no file beside it, no network."""

from __future__ import annotations

from html import escape

from mlnb.monitor.drawing import alarms, table
from mlnb.monitor.estimate_view import estimate_section
from mlnb.monitor.report import Report
from mlnb.monitor.text import METRIC_NAMES, number, percent

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; worker-src blob:"
)
_STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #f4f6f9; color: #1f2937; }
body { font: 14px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 28px 24px 48px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 16px; margin: 0 0 10px; }
.quiet { color: #64748b; } .lead { font-size: 16px; margin: 10px 0 18px; }
.card { background: #fff; border: 1px solid #e2e8f0; border-radius: 10px; padding: 16px 18px; margin: 0 0 18px; }
section.card { overflow-x: auto; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(108px, 1fr)); gap: 10px; margin: 0 0 18px; }
.figures .card { margin: 0; padding: 10px 14px; } .figures b { display: block; font-size: 18px; }
ul { margin: 0; padding-left: 20px; } li { margin: 2px 0; }
"""


def render(report: Report, plot: str) -> str:
    """Return the page; `plot` is the HTML of the dashboard with plotly.js in it."""
    title = f"{report.ref} in use"
    made = report.made_at.strftime("%Y-%m-%d %H:%M UTC")
    found = "".join(f"<li>{escape(finding.sentence)}</li>" for finding in report.findings)
    raised = f'<section class="card"><h2>Alarms</h2>{alarms(report)}</section>' if report.alarms else ""
    findings = f'<section class="card"><h2>Findings</h2><ul>{found}</ul></section>' if found else ""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>
<h1>{escape(title)}</h1>
<div class="quiet">by {escape(report.span)}, against {report.reference.rows:,} reference rows; made {made}</div>
<p class="lead">{escape(report.summary())}</p>
<div class="figures">{_tiles(report)}</div>
{raised}
<section class="card">{plot}</section>
{findings}
{estimate_section(report)}
<section class="card"><h2>Features</h2>{table(report, limit=200)}</section>
<p class="quiet">Drift is the Jensen-Shannon distance, 0 (equal) to 1 (disjoint), missing values included.
A feature has drifted where it is above the tolerance (dotted) and above what sampling alone would give.</p>
</main></body></html>
"""


def _tiles(report: Report) -> str:
    total = report.total
    tiles = [
        (f"{total.rows - total.errors:,}", "answered"),
        (percent(total.errors / total.rows), "errors"),
        (f"{len(report.drifted)} of {len(report.features)}", "drifted"),
        (f"{number(total.latency_ms(50))} ms", "latency p50"),
        (f"{number(total.latency_ms(95))} ms", "latency p95"),
        (f"{number(total.latency_ms(99))} ms", "latency p99"),
    ]
    tiles += [
        (number(value), METRIC_NAMES.get(name, name).removesuffix(" (right)"))
        for name, value in report.overall.metrics.items()
    ]
    return "".join(
        f'<div class="card"><b>{escape(value)}</b><span class="quiet">{name}</span></div>' for value, name in tiles
    )
