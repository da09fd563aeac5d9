"""A comparison of two versions becomes a figure: the interval of their difference as labels came, and where 0 lies."""

from __future__ import annotations

from itertools import chain

import numpy as np
import plotly.graph_objects as go

from mlnb.monitor.versus import Versus

_BLUE, _BAND, _GREY = "#2563eb", "rgba(37,99,235,0.15)", "#6b7280"
_HEIGHT = 320


def figure(found: Versus) -> go.Figure:
    """Return the interval of the difference at each look, narrowing; where it leaves 0, one is better."""
    confidence = found.confidence
    known = np.isfinite(confidence.lower) & np.isfinite(confidence.upper) & np.isfinite(confidence.estimate)
    counts = confidence.counts[known].tolist()
    lower, upper = confidence.lower[known].tolist(), confidence.upper[known].tolist()
    band = go.Scatter(
        x=[*counts, *reversed(counts)],
        y=[*chain(upper, reversed(lower))],
        fill="toself",
        fillcolor=_BAND,
        line={"width": 0},
        hoverinfo="skip",
        name=f"{1.0 - found.alpha:.0%} at all times together",
    )
    line = go.Scatter(
        x=counts,
        y=confidence.estimate[known].tolist(),
        customdata=list(zip(lower, upper, strict=True)),
        line={"color": _BLUE, "width": 2},
        mode="lines",
        name="difference",
        hovertemplate="%{x:,} labelled: %{y:+.4g} (%{customdata[0]:+.4g} to %{customdata[1]:+.4g})<extra></extra>",
    )
    drawn = go.Figure(data=[band, line])
    drawn.add_hline(y=0.0, line={"color": _GREY, "dash": "dot", "width": 1})
    drawn.update_layout(
        title={"text": next(found.sentences()).partition(":")[0], "font": {"size": 14}},
        xaxis={"title": f"labelled {found.unit}s", "rangemode": "tozero"},
        yaxis={"title": f"{found.metric}: {found.second.ref} less {found.first.ref}"},
        template="plotly_white",
        height=_HEIGHT,
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        legend={"orientation": "h", "y": 1.02, "x": 1.0, "xanchor": "right", "yanchor": "bottom"},
    )
    return drawn
