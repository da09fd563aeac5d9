"""What `evaluate` takes, infers and refuses; the value it returns, its codec and what people see of it."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from mlnb import evaluate
from mlnb.errors import CorruptError, HandoffError, NewerFormatError, UsageError
from mlnb.model.asked import ask
from mlnb.model.evaluation import Evaluation, Metric, evaluations_in, metric_of
from mlnb.model.evaluation_codec import EvaluationCodec, read_all, to_bytes, to_json, write_all
from mlnb.model.evaluation_figures import panels, svg
from mlnb.model.evaluation_view import html, markdown
from mlnb.store.codec import decode, encode
from mlnb.store.files import FileStore

RANDOM = np.random.default_rng(12)
TRUTH = RANDOM.random(400) < 0.4
SCORES = np.clip(RANDOM.normal(0.4 + 0.2 * TRUTH, 0.2), 0, 1)
ORIGIN = np.array(["JFK", "EWR", "LGA", "EWR"] * 100)


@pytest.fixture(scope="module")
def binary() -> Evaluation:
    return evaluate(TRUTH, SCORES, rows={"origin": ORIGIN}, slices=["origin"], resamples=200)


def every_kind(binary: Evaluation) -> list[Evaluation]:
    numbers = RANDOM.gamma(3, 1, 120)
    return [
        binary,
        evaluate(RANDOM.choice(["a", "b<c", "d"], 90), RANDOM.dirichlet(np.ones(3), 90), resamples=50),
        evaluate(numbers, numbers + RANDOM.normal(size=120), resamples=50),
        evaluate(numbers, numbers, resamples=0, horizon=np.arange(120) % 3, history=numbers),
        evaluate(RANDOM.integers(0, 2, 120), numbers, groups=np.arange(120) // 6, resamples=50),
        evaluate([False, False], [0.1, 0.6]),
    ]


# what is inferred


@pytest.mark.parametrize(
    ("truth", "answers", "task"),
    [
        ([True, False], [0.2, 0.7], "binary"),
        ([0, 1, 1], [0.2, 0.7, 0.1], "binary"),
        ([0, 1, 1], [-2.0, 3.0, 0.1], "binary"),
        (["no", "yes"], ["yes", "yes"], "binary"),
        ([3, 5, 3], [3, 5, 5], "binary"),
        ([1, 2, 3], [1, 3, 3], "multiclass"),
        (["a", "b", "c"], ["a", "b", "a"], "multiclass"),
        (["a", "b"], ["a", "c"], "multiclass"),
        ([1, 2, 3], [1.5, 2.0, 2.5], "regression"),
        ([0.5, 1.5], [0.5, 1.5], "regression"),
        (pd.Series(["a", "b", "c"], dtype="category"), ["a", "b", "c"], "multiclass"),
        (pl.Series([True, False]), pl.Series([0.5, 0.25]), "binary"),
    ],
)
def test_the_task_is_inferred_and_said(truth: object, answers: object, task: str) -> None:
    found = evaluate(truth, answers, resamples=0)
    assert found.task == task
    assert found.notes[0].startswith(f"The task was taken to be {task}, because ")


def test_what_is_said_is_not_inferred() -> None:
    found = evaluate([1, 2, 3], [1, 3, 3], task="regression", resamples=0)
    assert (found.task, found["mae"]) == ("regression", pytest.approx(1 / 3))
    assert not any("taken to be" in note for note in found.notes)


def test_the_positive_class_can_be_either() -> None:
    truth, chances = ["no", "yes", "yes", "no"], np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.6, 0.4]])
    assert evaluate(truth, chances, resamples=0)["recall"] == 0.5
    other = evaluate(truth, chances, positive="no", resamples=0)
    assert other["recall"] == 1
    assert "The positive class is no." in other.notes
    assert other.confusion is not None
    assert (other.confusion.classes, other.confusion.counts) == (("yes", "no"), ((1, 1), (0, 2)))


def test_classes_that_do_not_occur_are_named_by_the_model() -> None:
    chances = RANDOM.dirichlet(np.ones(3), 20)
    found = evaluate(["a", "b"] * 10, chances, classes=["a", "b", "c"], resamples=0)
    assert "No row is of class c: means over classes are over the others." in found.notes
    assert math.isnan(found["recall[class=c]"])


def test_answers_that_are_classes_have_no_area() -> None:
    found = evaluate([0, 1, 1, 0], [0, 1, 0, 0], resamples=0)
    assert "auc" not in found
    assert found.curves == ()
    assert any("classes, not scores" in note for note in found.notes)


# what is refused


@pytest.mark.parametrize(
    ("truth", "answers", "options", "problem", "remedy"),
    [
        ([1, 0], [0.5], {}, "answers has 1 rows, but there are 2 true values", "one value for each row"),
        ([1, None], [0.5, 0.5], {}, "1 of 2 rows of truth have a missing value", "Leave those rows out"),
        ([1, 0], [0.5, math.nan], {}, "1 of 2 rows of answers have a missing value", "Leave those rows out"),
        ([], [], {}, "truth has no rows", "at least one"),
        ([1, 1], [0.5, 0.4], {}, "one value only", 'task="binary"'),
        ([1, 0], [0.5, 0.4], {"task": "clustering"}, "no task 'clustering'", "binary, multiclass"),
        (["a", "b", "c"], [1, 2, 3], {"task": "regression"}, "truth holds values that are no numbers", "Say what"),
        (["a", "b"], [[0.1, 0.2, 0.7]] * 2, {}, "3 columns, but the truth has 2 classes", "classes=model.classes_"),
        (["a", "z"], [[0.1, 0.9]] * 2, {"classes": ["a", "b"]}, "holds 'z', which is none of the classes", "classes="),
        ([1.5, 2.5], [[1, 2]] * 2, {"task": "regression"}, "answers have 2 columns", "quantiles="),
        ([1.5, 2.5], [[1, 2]] * 2, {"quantiles": [0.1]}, "does not fit answers with 2 columns", "each column"),
        ([1, 0], [1, 2], {"task": "ranking"}, "which rows belong to one query", "groups="),
        ([0, 0], [1, 2], {"groups": [1, 1]}, "No query has a relevant row", "Check"),
        ([1, 0], [1, 2], {"groups": [1, 1], "k": 0}, "holds no cut-offs", "from 1"),
        ([1, 2], [1, 2], {"series": ["a", "b"], "history": [1, 2]}, "several series, but one history", "history={"),
        ([1, 0], [0.5, 0.4], {"slices": ["origin"]}, "names origin, but evaluate() was not given the rows", "rows="),
        (
            TRUTH,
            SCORES,
            {"rows": {"origin": ORIGIN}, "slices": "origins"},
            "no column 'origins'",
            "Did you mean 'origin'?",
        ),
        (TRUTH, SCORES, {"slices": {"origin": ["JFK"]}}, "shape (1,), but there are 400 answers", "one for each"),
        ([1, 0], [0.5, 0.4], {"level": 2}, "out of range", "between"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_two_sentences(
    truth: object, answers: object, options: dict[str, object], problem: str, remedy: str
) -> None:
    with pytest.raises(UsageError) as caught:
        evaluate(truth, answers, **options)  # type: ignore[arg-type]
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_an_unknown_metric_is_told_with_the_known_ones(binary: Evaluation) -> None:
    with pytest.raises(UsageError) as caught:
        binary["rocauc"]
    assert caught.value.problem == "The evaluation (binary) has no metric 'rocauc'."
    assert caught.value.remedy.startswith("Did you mean 'roc_auc'? The known ones are: roc_auc, average_precision,")


# slices


def test_slices_are_measured_alone_and_counted(binary: Evaluation) -> None:
    assert [(one.value, one.rows) for one in binary.slices] == [("EWR", 200), ("JFK", 100), ("LGA", 100)]
    alone = evaluate(TRUTH[ORIGIN == "JFK"], SCORES[ORIGIN == "JFK"], resamples=0)
    assert binary["auc[origin=JFK]"] == alone["auc"]
    assert binary["auc_low[origin=JFK]"] < binary["auc[origin=JFK]"] < binary["auc_high[origin=JFK]"]


def test_numbers_are_sliced_at_quartiles_and_rare_texts_are_one_slice() -> None:
    rows = pd.DataFrame({"age": np.arange(400.0), "dest": [f"D{min(n, 60):03}" for n in range(400)], "old": TRUTH})
    rows.loc[0, "age"] = None
    found = evaluate(TRUTH, SCORES, rows=rows, slices=["age", "dest", "old"], resamples=0)
    ages = [one.value for one in found.slices if one.column == "age"]
    assert ages == ["up to 100.5", "100.5 to 200", "200 to 299.5", "above 299.5", "missing"]
    places = [(one.value, one.rows, one.small) for one in found.slices if one.column == "dest"]
    assert (len(places), places[0][:2], places[-1]) == (20, ("D060", 340), ("other values", 42, False))
    assert [one.value for one in found.slices if one.column == "old"] == ["false", "true"]


def test_whole_numbers_are_cut_between_whole_numbers_and_drawn_by_those_names() -> None:
    hours = np.tile(np.arange(1, 25), 50)
    truth = RANDOM.normal(size=hours.size)
    found = evaluate(truth, truth + hours, task="forecast", horizon=hours, resamples=0)
    names = ("up to 6", "7 to 12", "13 to 18", "above 18")
    assert tuple((one.value, one.rows) for one in found.slices) == tuple((name, 300) for name in names)
    (drawn,) = [one for one in panels(found) if one.title.endswith("by horizon")]
    assert (drawn.ticks, drawn.lines[0].x) == (names, (0.0, 1.0, 2.0, 3.0))
    assert "above 18" in svg(found)


def test_small_slices_are_said_to_be_small() -> None:
    found = evaluate(TRUTH, SCORES, slices={"few": np.arange(400) < 20}, resamples=0)
    assert [(one.value, one.small) for one in found.slices] == [("false", False), ("true", True)]
    assert any(note.startswith("Small slices have fewer than 30 units") for note in found.notes)


def test_a_ranking_is_sliced_by_what_belongs_to_a_query() -> None:
    query = np.arange(60) // 6
    relevance = np.tile([1, 0, 0, 0, 0, 0], 10)
    relevance[:6] = 0  # a query without relevant rows is left out
    scores = np.where(query < 5, relevance, -relevance)
    found = evaluate(relevance, scores, groups=query, slices={"half": query < 5}, k=1, resamples=0)
    assert (found["hit_rate@1[half=true]"], found["hit_rate@1[half=false]"]) == (1, 0)
    with pytest.raises(UsageError, match="differs within a query"):
        evaluate(relevance, scores, groups=query, slices={"row": np.arange(60)}, resamples=0)


def test_the_marks_slices_are_the_default() -> None:
    ask(["origin"])
    try:
        found = evaluate(TRUTH, SCORES, rows=pd.DataFrame({"origin": ORIGIN}), resamples=0)
        assert {one.column for one in found.slices} == {"origin"}
        assert evaluate(TRUTH, SCORES, slices=(), resamples=0).slices == ()
        with pytest.raises(UsageError, match="`--slices` of the stage names origin"):
            evaluate(TRUTH, SCORES)
    finally:
        ask(())


# the value


def test_an_evaluation_survives_its_codec_and_equal_ones_are_the_same_bytes(binary: Evaluation, tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    for one in every_kind(binary):
        artifact = encode("evaluation", one, store, "key")
        assert (artifact.codec, artifact.identity) == ("evaluation", artifact.digest)
        assert decode(artifact, store) == one
        assert encode("again", one, store, "other").digest == artifact.digest
        assert artifact.size_bytes < 40_000
        json.loads(to_bytes(one), parse_constant=pytest.fail)


def test_several_evaluations_are_kept_in_one_file(binary: Evaluation, tmp_path: Path) -> None:
    write_all(tmp_path / "evaluations.json", {"evaluate.evaluation": binary})
    assert read_all(tmp_path / "evaluations.json") == {"evaluate.evaluation": binary}


def test_a_damaged_or_newer_evaluation_is_refused(binary: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "value"
    for change in ({"task": 1}, {"metrics": [{"name": "x", "value": "high"}]}, {"confusion": {"classes": []}}):
        path.write_text(json.dumps({**to_json(binary), **change}))
        with pytest.raises(CorruptError, match="is damaged"):
            EvaluationCodec().read(path)
    path.write_text(json.dumps({**to_json(binary), "format": 2}))
    with pytest.raises(NewerFormatError):
        EvaluationCodec().read(path)


def test_its_size_does_not_depend_on_the_number_of_rows() -> None:
    sizes = []
    for rows in (2_000, 200_000):
        truth = RANDOM.random(rows) < 0.3
        found = evaluate(truth, RANDOM.random(rows), slices={"x": RANDOM.random(rows)}, resamples=0)
        sizes.append(len(to_bytes(found)))
    assert sizes[1] < 1.1 * sizes[0]


def test_numbers_have_the_names_that_gates_use(binary: Evaluation) -> None:
    named = binary.named()
    assert named["auc"] == named["roc_auc"] == binary["roc_auc"]
    assert named["auc_low[origin=LGA]"] == named["roc_auc_low[origin=LGA]"]
    ranking = evaluate([1, 0] * 30, RANDOM.random(60), groups=np.arange(60) // 6, k=3, resamples=50)
    assert {"ndcg@3", "ndcg_low@3", "ndcg_high@3"} <= ranking.numbers().keys()


def test_a_stages_evaluations_are_found_by_their_variables(binary: Evaluation) -> None:
    taken = evaluate([0, 1], [0.5, 0.4], resamples=0)
    namespace = {"_": binary, "given": taken, "first": binary, "second": binary, "x": 1}
    assert evaluations_in(namespace, {"given": taken}) == {"first": binary}
    assert metric_of("auc", "evaluate", {"first": binary}) == binary["auc"]
    with pytest.raises(HandoffError, match="which 2 evaluations have: first, other"):
        metric_of("auc", "evaluate", {"first": binary, "other": taken})
    with pytest.raises(HandoffError, match="'mae', which first does not have"):
        metric_of("mae", "evaluate", {"first": binary})
    with pytest.raises(HandoffError, match="binds neither it nor an evaluation"):
        metric_of("auc", "evaluate", {})


# what people see


def test_every_kind_shows_itself_as_text_html_markdown_and_pictures(binary: Evaluation) -> None:
    for one in every_kind(binary):
        page = html(one)
        ET.fromstring(page)  # well-formed, names escaped
        assert "<script" not in page
        assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
        for metric in one.metrics:
            assert metric.name in page
            assert metric.name in str(one)
            assert any(line.startswith(f"| {metric.name} |") for line in "\n".join(markdown(one)).split("\n"))
        assert repr(one).startswith(f"<Evaluation {one.task}, ")
        assert len(one.figure().data) >= len(panels(one))
        assert svg(one).count("<svg") == len(panels(one))


def test_an_undefined_number_is_shown_as_none() -> None:
    found = evaluate([False, False], [0.1, 0.6])
    assert found.metrics[0] == Metric("roc_auc", math.nan)
    assert "roc_auc            -" in str(found)
