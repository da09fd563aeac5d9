"""A person's words for a model card."""

from __future__ import annotations

import pytest

from mlnb.errors import CorruptError, NewerFormatError
from mlnb.model.card_facts import CardFacts
from mlnb.model.card_words import licence_of, sensitive_columns, words_for

CELL = """# Model card

Opening words.

## Intended uses
For planners.

```python
## not a heading
```

## Bias
- **Sensitive columns**: `sex`, age

## My own thing
kept

### License
CC-BY-4.0
"""


def keys(*cells: tuple[str, tuple[str, ...]], model: str = "delays") -> list[tuple[str, str]]:
    return [(one.key, one.heading) for one in words_for(model, list(cells))]


def test_headings_become_the_cards_sections_and_none_is_lost() -> None:
    words = words_for("delays", [("# Flights\nNothing.", ()), (CELL, ())])
    assert [(one.key, one.heading) for one in words] == [
        ("", ""),
        ("intended_use", "Intended uses"),
        ("fairness", "Bias"),
        ("", "My own thing"),
        ("licence", "License"),
    ]
    kept = "\n".join(one.markdown for one in words)
    headings = {line for line in CELL.split("\n") if line.startswith("#")} - {"## not a heading"}
    assert all(line in kept for line in CELL.split("\n") if line.strip() and line not in headings)
    assert words[1].markdown.endswith("```python\n## not a heading\n```\n".rstrip("\n"))


def test_a_card_may_be_for_one_model_alone() -> None:
    other, own = ("# Model card: arrivals\n## Uses\nx", ()), ("## Model Card: `delays`\n## Uses\ny", ())
    assert keys(other, own) == [("intended_use", "Uses")]
    assert keys(("## Uses\nx", ("model-card",)), ("## Ethics\ny", ("model-card", "arrivals"))) == [
        ("intended_use", "Uses")
    ]


def test_other_cells_are_no_card() -> None:
    assert keys(("# Model cards are useful", ()), ("Model card\n# Data", ()), ("", ("model-card",))) == []


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        ("Sensitive columns: `sex`, age.", ("sex", "age")),
        ("* **Protected attributes:** 'sex'", ("sex",)),
        ("We looked at sensitive columns: none", ()),
    ],
)
def test_sensitive_columns_are_named_in_a_line(line: str, columns: tuple[str, ...]) -> None:
    assert sensitive_columns(words_for("m", [(f"# Model card\n## Fairness\n{line}", ())])) == columns


def test_the_licence_is_the_first_line_below_its_heading() -> None:
    assert licence_of(words_for("m", [(CELL, ())])) == "CC-BY-4.0"
    assert licence_of(()) == ""


def test_facts_of_format_1_are_read_and_others_refused() -> None:
    first = {
        "format": 1,
        "model": "train.model",
        "sample": "split.X",
        "estimator": "Ridge()",
        "licence": "MIT",
        "rows": 3,
        "columns": [
            {"name": "a", "dtype": "float64", "rows": 3, "missing": 1, "mean": 2.0, "deviation": 1.0, "minimum": 1.0}
            | {"maximum": 3.0, "distinct": 2, "top": []}
        ],
        "words": [{"key": "metrics", "heading": "Metrics", "markdown": "x"}],
        "fairness": [
            {"column": "sex", "favourable": "1", "labels": "", "differences": {"selection_rate": None}}
            | {"groups": [{"value": "f", "rows": 3, "small": True, "metrics": {"selection_rate": 0.5}}]}
        ],
        "notes": ["n"],
    }
    facts = CardFacts.from_json(first)
    assert (facts.columns[0].maximum, facts.words[0].key, facts.fairness[0].groups[0].metrics) == (
        3.0,
        "metrics",
        {"selection_rate": 0.5},
    )
    first["fairness"][0]["groups"][0]["intervals"] = {}  # type: ignore[index]  # which came later, under this number
    assert facts.to_json() == first
    with pytest.raises(NewerFormatError, match="Upgrade mlnb"):
        CardFacts.from_json({**first, "format": 2})
    with pytest.raises(CorruptError, match="damaged"):
        CardFacts.from_json({**first, "columns": [{}]})
