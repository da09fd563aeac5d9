"""Tables of every format become tables of the estimator's own answers: in order, whole, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier

from mlnb.batch.layout import answer_fields, arrays_of_scores
from mlnb.batch.table import Batch, Progress, Scored, score_table
from mlnb.errors import RunError, SignatureError, StorageError, UntrustedError, UsageError
from mlnb.model.answers import Scores
from mlnb.model.kinds import Column
from mlnb.model.signature import Signature
from tests.unit.batch.conftest import ROWS, Case

Packed = Callable[..., Path]


def score(package: Path, source: object, target: Path, notify: Callable[[object], None] = print, **how: Any) -> Scored:
    return score_table(package, "delays/7", Batch(str(source), str(target), **how), notify)


def write(frame: pd.DataFrame, place: Path) -> Path:
    match place.suffix:
        case ".csv":
            frame.to_csv(place, index=False)
        case ".jsonl":
            place.write_text("\n".join(json.dumps(row) for row in json.loads(frame.to_json(orient="records"))))
        case ".feather":
            frame.to_feather(place)
        case _:
            frame.to_parquet(place, index=False, row_group_size=7_000)
    return place


def read(place: Path) -> pd.DataFrame:
    match place.suffix:
        case ".csv":
            return pd.read_csv(place)
        case ".jsonl":
            return pd.read_json(place, lines=True)
        case ".feather":
            return pd.read_feather(place)
        case _:
            return pd.read_parquet(place)


def agrees(case: Case, answers: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Compare with what the estimator itself says; both see the same rows in the same order."""
    given = rows.drop(columns="id")
    assert answers["prediction"].tolist() == case.estimator.predict(given).tolist()
    names = [f"probability_{label}" for label in case.estimator.classes_]
    np.testing.assert_allclose(answers[names], case.estimator.predict_proba(given), atol=1e-6)
    assert set(answers["version"]) == {"delays/7"}


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".feather", ".jsonl"])
def test_every_format_is_read_and_written_in_order(case: Case, tmp_path: Path, suffix: str) -> None:
    source = write(case.table, tmp_path / f"in{suffix}")
    told: list[object] = []
    scored = score(case.package, source, tmp_path / f"out{suffix}", told.append, keep=("id",))
    answers = read(tmp_path / f"out{suffix}")
    assert (scored.rows, scored.faulty, len(answers)) == (ROWS, 0, ROWS)
    assert answers["id"].astype(int).tolist() == case.table["id"].tolist()
    agrees(case, answers, case.table)
    last = told[-1]
    assert isinstance(last, Progress) and last.rows == ROWS
    assert last.total == (ROWS if suffix in {".parquet", ".feather"} else 0)


@pytest.mark.parametrize("place", ["", "/2013-*.parquet"], ids=["folder", "pattern"])
def test_many_files_are_one_table_and_parts_are_written_whole(case: Case, tmp_path: Path, place: str) -> None:
    (tmp_path / "in").mkdir()
    rows = case.table.head(9_000)
    for month in (2, 0, 1):
        write(rows[month * 3_000 : (month + 1) * 3_000], tmp_path / "in" / f"2013-{month}.parquet")
    (tmp_path / "in" / "_SUCCESS").touch()
    score(case.package, f"{tmp_path / 'in'}{place}", tmp_path / "out", jobs=2)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-00000.parquet"]
    agrees(case, pd.read_parquet(tmp_path / "out"), rows)


def test_what_the_types_of_a_file_can_hold_is_taken_where_it_fits(case: Case, tmp_path: Path) -> None:
    rows = case.table.head(300)
    odd = pa.table(
        {
            "distance": pa.array(rows["distance"]).cast(pa.decimal128(12, 1)),
            "delay": pa.array(rows["delay"], from_pandas=False),  # NaN, not null
            "seats": pa.array(rows["seats"].astype(float)),
            "carrier": pa.array(rows["carrier"], pa.large_string()),
            "origin": pa.array(rows["origin"]).dictionary_encode(),
            "night": pa.array(rows["night"]),
        }
    )
    pq.write_table(odd, tmp_path / "in.parquet")
    score(case.package, tmp_path / "in.parquet", tmp_path / "out.parquet")
    agrees(case, pd.read_parquet(tmp_path / "out.parquet"), rows)


@pytest.fixture
def faulty(case: Case, tmp_path: Path) -> Path:
    """A CSV file with three rows that cannot be scored, in its second piece."""
    frame = case.table.drop(columns="id").astype(object)
    frame.loc[30_001, "seats"] = "many"
    frame.loc[30_007, "carrier"] = None
    frame.loc[30_007, "distance"] = "far"
    frame.loc[30_500, "seats"] = 12.5
    return write(frame, tmp_path / "in.csv")


def test_a_faulty_row_is_named_and_stops_everything(case: Case, faulty: Path, tmp_path: Path) -> None:
    with pytest.raises(SignatureError) as raised:
        score(case.package, faulty, tmp_path / "out.parquet")
    assert raised.value.faults == (
        f"row 30001 of {faulty}: column 'seats' must be a whole number, but is the string 'many'",
        f"row 30007 of {faulty}: column 'distance' must be a number, but is the string 'far'",
        f"row 30007 of {faulty}: column 'carrier' may not be null: no row of the model's sample lacked it",
        f"row 30500 of {faulty}: column 'seats' must be a whole number, but is 12.5",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_faulty_rows_may_get_nulls_and_a_reason_instead(case: Case, faulty: Path, tmp_path: Path) -> None:
    scored = score(case.package, faulty, tmp_path / "out.parquet", spare=True)
    assert (scored.rows, scored.faulty) == (ROWS, 3)
    assert [fault.row for fault in scored.faults] == [30_001, 30_007, 30_007, 30_500]
    answers = pd.read_parquet(tmp_path / "out.parquet")
    assert answers.index[answers["prediction"].isna()].tolist() == [30_001, 30_007, 30_500]
    assert answers.index[answers["fault"].notna()].tolist() == [30_001, 30_007, 30_500]
    assert answers.loc[30_007, "fault"].startswith("column 'distance' must be a number")
    good = answers["fault"].isna()
    agrees(case, answers[good], case.table[good])


def test_a_line_that_is_not_json_is_a_faulty_row(case: Case, tmp_path: Path) -> None:
    source = write(case.table.head(3), tmp_path / "in.jsonl")
    first, _, last = source.read_text().splitlines()
    source.write_text("\n".join([first, "{oops", last]))
    scored = score(case.package, source, tmp_path / "out.csv", spare=True)
    assert [(fault.row, fault.column) for fault in scored.faults] == [(1, "")]
    agrees(case, pd.read_csv(tmp_path / "out.csv").iloc[[0, 2]], case.table.iloc[[0, 2]])


def test_what_does_not_fit_is_told_before_anything_is_scored(case: Case, tmp_path: Path) -> None:
    source = write(case.table.head(5).rename(columns={"seats": "seat"}), tmp_path / "in.parquet")
    with pytest.raises(SignatureError, match=r"column 'seats' is missing \(did you mean 'seat'\?\)"):
        score(case.package, source, tmp_path / "out.parquet")
    whole = write(case.table.head(5), tmp_path / "whole.parquet")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    (tmp_path / "broken.parquet").write_bytes(whole.read_bytes()[:-9])
    (tmp_path / "odd.xlsx").touch()
    refused: list[tuple[object, Path, dict[str, Any], str]] = [
        (whole, tmp_path / "out.parquet", {"keep": ("ident",)}, r"no column 'ident' to keep"),
        (whole, tmp_path / "out.parquet", {"keep": ("id", "id")}, "would stand twice"),
        (whole, whole, {}, "is what is to be scored"),
        (whole, tmp_path / "full", {}, "is a folder that is there already"),
        (whole, tmp_path / "out.xlsx", {}, "in no format that is known"),
        (tmp_path / "odd.xlsx", tmp_path / "out.csv", {}, "in no format that is known"),
        (tmp_path / "nothing.csv", tmp_path / "out.csv", {}, "nothing to score"),
        (tmp_path / "broken.parquet", tmp_path / "out.csv", {}, r"broken.parquet cannot be read"),
    ]
    before = sorted(tmp_path.iterdir())
    for given, target, how, told in refused:
        with pytest.raises(UsageError, match=told):
            score(case.package, given, target, **how)
    assert sorted(tmp_path.iterdir()) == before


def test_an_empty_table_gives_an_empty_table_of_the_same_columns(case: Case, tmp_path: Path) -> None:
    source = write(case.table.head(0), tmp_path / "in.parquet")
    assert score(case.package, source, tmp_path / "out.parquet").rows == 0
    assert pq.read_schema(tmp_path / "out.parquet").names[0] == "prediction"


def test_a_folder_that_cannot_be_written_is_a_sentence(case: Case, tmp_path: Path) -> None:
    source = write(case.table.head(10), tmp_path / "in.parquet")
    with pytest.raises(StorageError, match="a file is where a folder should be"):
        score(case.package, source, source / "out.parquet")


HOOK = """
def preprocess(rows):
    import os
    if any(row["a"] == 13.5 for row in rows):
        raise ValueError("unlucky")
    return [{"x": row["a"] * 2, "y": float(os.getpid() > 0)} for row in rows]
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_hooks_prepare_the_rows_and_the_row_that_breaks_one_is_named(packed: Packed, tmp_path: Path, jobs: int) -> None:
    features = pd.DataFrame({"x": np.arange(40.0), "y": 1.0})
    estimator = LinearRegression().fit(features, 3 * features["x"] + 1)
    package = packed(estimator, pd.DataFrame({"a": np.arange(40.0)}), hooks=HOOK)
    rows = pd.DataFrame({"a": np.r_[np.arange(20_100.0), 13.5, 8.0]})
    source = write(rows, tmp_path / "in.parquet")
    with pytest.raises(SignatureError, match=r"row 20100 of .*: The hook preprocess failed: ValueError: unlucky"):
        score(package, source, tmp_path / "out.parquet", jobs=jobs)
    scored = score(package, source, tmp_path / "out.parquet", jobs=jobs, spare=True)
    answers = pd.read_parquet(tmp_path / "out.parquet")
    assert [(fault.row, fault.column) for fault in scored.faults] == [(20_100, "")]
    good = answers["prediction"].notna()
    np.testing.assert_allclose(answers["prediction"][good], 6 * rows["a"][good] + 1, rtol=1e-6)


def test_a_process_that_is_killed_is_told_and_nothing_is_written(packed: Packed, tmp_path: Path) -> None:
    rows = pd.DataFrame({"x": np.arange(20_100.0)})
    hook = "def preprocess(rows):\n    import os\n    return os.kill(os.getpid(), 9) if len(rows) == 100 else rows\n"
    package = packed(LinearRegression().fit(rows, rows["x"]), rows.head(50), hooks=hook)
    source = write(rows, tmp_path / "in.parquet")
    with pytest.raises(RunError, match="A process that scored rows was killed"):
        score(package, source, tmp_path / "out.parquet", jobs=2)
    assert not (tmp_path / "out.parquet").exists()


def test_ordered_items_and_their_scores_are_lists() -> None:
    signature = Signature((Column("films", "string", many=True),), "ranker", output="string", items="films")
    arrays = arrays_of_scores(Scores([["b", "a"], ["c"]], None, [[2.0, 1.0], [0.5]]), signature)
    assert [array.to_pylist() for array in arrays] == [[["b", "a"], ["c"]], [[2.0, 1.0], [0.5]]]
    assert [field.name for field in answer_fields(signature)] == ["prediction", "score"]


def test_code_that_nobody_trusted_has_signed_is_not_loaded(packed: Packed, tmp_path: Path) -> None:
    features = pd.DataFrame({"x": np.arange(40.0), "y": 1.0})
    mark = tmp_path / "ran"
    estimator = LinearRegression().fit(features, features["x"])
    package = packed(estimator, pd.DataFrame({"a": np.arange(40.0)}), hooks=HOOK)
    manifest = json.loads((package / "package.json").read_bytes())
    manifest["signatures"]["hooks.py"]["key"] = "0" * 16
    (package / "package.json").write_text(json.dumps(manifest))
    source = write(pd.DataFrame({"a": [1.0]}), tmp_path / "in.parquet")
    with pytest.raises(UntrustedError):
        score(package, source, tmp_path / "out.parquet")
    assert not mark.exists() and not (tmp_path / "out.parquet").exists()


def test_truths_and_several_outputs_have_columns_of_their_own_names(packed: Packed, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.normal(size=(400, 2)), columns=["a", "b"])
    source = write(rows, tmp_path / "in.parquet")
    truth = LogisticRegression().fit(rows, rows["a"] > 0)
    score(packed(truth, rows), source, tmp_path / "truth.parquet")
    answers = pd.read_parquet(tmp_path / "truth.parquet")
    assert answers.columns.tolist() == ["prediction", "probability_false", "probability_true", "version"]
    assert answers["prediction"].tolist() == truth.predict(rows).tolist()

    numbers = LinearRegression().fit(rows, np.c_[rows["a"] + rows["b"], rows["a"] - 1])
    score(packed(numbers, rows), source, tmp_path / "numbers.csv")
    made = pd.read_csv(tmp_path / "numbers.csv").drop(columns="version")
    assert made.columns.tolist() == ["prediction_y0", "prediction_y1"]
    np.testing.assert_allclose(made, numbers.predict(rows), atol=1e-5)

    labels = np.c_[np.where(rows["a"] > 0, "up", "down"), np.where(rows["b"] > 0, "left", "right")]
    several = MultiOutputClassifier(LogisticRegression()).fit(rows, labels)
    score(packed(several, rows), source, tmp_path / "several.parquet")
    told = pd.read_parquet(tmp_path / "several.parquet").drop(columns="version")
    assert told.columns[:3].tolist() == ["prediction_y0", "prediction_y1", "probability_y0_down"]
    assert told[["prediction_y0", "prediction_y1"]].to_numpy().tolist() == several.predict(rows).tolist()
    chances = several.predict_proba(rows)
    np.testing.assert_allclose(told.filter(like="probability_y1"), chances[1], atol=1e-5)
