"""Looking for versions by metric, tag, data and the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest

from mlnb.errors import UsageError
from mlnb.registry.lineage import Lineage
from mlnb.registry.registry import Registry
from mlnb.registry.search import measured, parse_query, ranked
from mlnb.registry.version import Draft
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger

NOW = datetime(2013, 3, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Versions delays/1 to /3 with falling AUC and other data, and fares/1."""
    folder = tmp_path_factory.mktemp("shelf")
    store = FileStore(folder / "artifacts")
    files = {"package.json": store.put(b"{}")[0]}
    ledger = Ledger(folder / "ledger.db")
    registry = Registry(ledger, store, lambda: datetime(2013, 3, 3, 9, tzinfo=UTC))
    made = [("a", "delays", 0.9), ("b", "delays", 0.8), ("c", "delays", math.nan), ("d", "fares", 0.7)]
    for number, (content, model, auc) in enumerate(made):
        lineage = Lineage(
            run=f"2013030{number}-run",
            notebook=f"nb/{model}.ipynb",
            git_commit=f"{number}" * 40,
            parameters={"depth": number, "kind": "tree", "deep": number > 1},
            data=((f"data/flights-{number}.csv", f"sha256:{number}{'f' * 63}"), ("s3://bucket/airports.csv", "etag")),
        )
        by = "ada" if number else "ben"
        registry.register(Draft(model, by, "onnx", files, {"auc": auc}, lineage, content=content))
    registry.promote("delays/2", "production", by="ada")
    registry.tag("delays/1", "owner", "ada", by="ada")
    registry.tag("delays/2", "owner", "ben=x", by="ada")
    registry.tag("delays/2", "reviewed", "", by="ada")
    with ledger:
        yield registry


def found(registry: Registry, *words: str) -> list[str]:
    return [version.ref for version in registry.search(parse_query(words, NOW))]


ALL = ["delays/1", "delays/2", "delays/3", "fares/1"]


@pytest.mark.parametrize(
    ("words", "refs"),
    [
        (["auc >= 0.8"], ALL[:2]),
        (["auc", ">=", "0.8"], ALL[:2]),
        (["auc>=", "0.8"], ALL[:2]),
        (["roc_auc > .8"], ALL[:1]),
        (["auc < 0.75"], ALL[3:]),
        (["f1 > 0"], []),
        (["tag:owner"], ALL[:2]),
        (["tag:owner=ada"], ALL[:1]),
        (["tag:owner=ben=x", "tag:reviewed"], ["delays/2"]),
        (["data:flights-2.csv"], ["delays/3"]),
        (["data:data/flights-*.csv", "model:delays"], ALL[:3]),
        (["data:airports.csv"], ALL),
        (["data:sha256:3fff"], ["fares/1"]),
        (["data:3fff"], ["fares/1"]),
        (["data:s3://bucket/*"], ALL),
        (["param:depth=2"], ["delays/3"]),
        (["param:deep=true"], ["delays/3", "fares/1"]),
        (["param:deep=True", "param:kind=tree", "param:kind"], ["delays/3", "fares/1"]),
        (["param:width"], []),
        (["alias:production"], ["delays/2"]),
        (["by:ben"], ALL[:1]),
        (["exporter:onnx", "notebook:fares.ipynb"], ["fares/1"]),
        (["commit:2222"], ["delays/3"]),
        (["run:20130301"], ["delays/2"]),
        (["since:2013-03-03", "until:2013-03-03"], ALL),
        (["until:yesterday"], ALL),
        (["since:today"], []),
        (["Fares"], ["fares/1"]),
        (["reviewed", "flights"], ["delays/2"]),
    ],
)
def test_all_words_must_be_true(shelf: Registry, words: Sequence[str], refs: Sequence[str]) -> None:
    assert found(shelf, *words) == refs


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["colour:red"], "cannot be looked for by 'colour'"),
        (["tag:"], "nothing to look for"),
        (["auc >="], "is not a gate"),
        (["auc => 0.8"], "unknown operator"),
        (["since:soon"], "neither a day nor a moment"),
    ],
)
def test_what_cannot_be_read_is_refused(words: Sequence[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_query(words, NOW)


def test_a_quote_in_a_word_is_a_quote(shelf: Registry) -> None:
    assert found(shelf, "model:delays' OR 1=1 --") == []
    assert found(shelf, "tag:owner=%") == []


def test_the_best_come_first_and_the_unmeasured_last(shelf: Registry) -> None:
    assert [one.ref for one in ranked(shelf.list(), "roc_auc", 1)] == [*ALL[:2], "fares/1", "delays/3"]
    assert [one.ref for one in ranked(shelf.list(), "auc", -1)] == ["fares/1", "delays/2", "delays/1", "delays/3"]
    assert math.isnan(measured({"f1": 1.0}, "auc"))
