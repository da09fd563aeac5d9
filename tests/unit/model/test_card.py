"""The model card."""

from __future__ import annotations

from mlnb.model.card import model_card
from mlnb.model.parity import measure
from mlnb.model.scorer import Scores
from mlnb.model.signature import Column, Signature


def test_a_card_tells_inputs_metrics_fidelity_and_lineage() -> None:
    signature = Signature(
        (
            Column("distance", "float64", minimum=80.0, maximum=4983.0),
            Column("a|b", "string", nullable=True, categories=("x", "y")),
        ),
        "classifier",
        ("late", "on time"),
        True,
        "string",
    )
    scores = Scores(["late"], [[0.9, 0.1]])
    parity = measure(scores, scores, "classifier", 1e-4)
    card = model_card("delays/7", signature, parity, {"auc": 0.8125}, {"run": "r1", "parameters": {"depth": 3}})
    assert card.startswith("# delays/7\n\nA classifier that answers one of `late`, `on time`, with probabilities.\n")
    assert "| `distance` | float64 | no | 80 to 4983 |" in card
    assert "| `a\\|b` | string | yes | x, y |" in card
    assert "| auc | 0.8125 |" in card
    assert "On 1 rows the largest difference is 0 (limit 0.0001) and 0 labels differ." in card
    assert "| parameters | depth=3 |" in card


def test_a_card_says_where_nothing_is_recorded() -> None:
    parity = measure(Scores([1.0]), Scores([1.0]), "regressor", 1e-4)
    card = model_card("m/1", Signature((Column("x", "float64"),), "regressor"), parity, {}, {}, reason="Because.")
    assert "A regressor that answers a number." in card
    assert card.count("None recorded.") == 2
    assert "Because." in card
