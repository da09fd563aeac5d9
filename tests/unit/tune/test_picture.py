"""What a study looks like while it goes on."""

from __future__ import annotations

import plotly.graph_objects as go

from mlnb.tune.picture import feed, figure
from mlnb.tune.trial import Trial


def test_a_live_plot_takes_trials_in_one_update_and_marks_a_logarithmic_axis_in_plain_numbers() -> None:
    made = go.FigureWidget(figure(["C", "kind"], ["C"], "train.loss", "minimize"))
    trials = [Trial(0, "done", {"C": 0.5, "kind": "a"}, 0.3), Trial(1, "done", {"C": 3.0, "kind": "b"}, 0.4)]
    with made.batch_update():
        feed(made, [*trials, Trial(2, "failed", {"C": 1.0, "kind": "a"})])
    best, by_c, by_kind = made.data[-3:]
    assert (list(best.y), list(by_c.x), list(by_kind.x)) == ([0.3, 0.3], [0.5, 3.0], ["a", "b"])
    assert made.layout.xaxis2.ticktext == ("0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50")
    assert made.layout.xaxis3.ticktext is None
