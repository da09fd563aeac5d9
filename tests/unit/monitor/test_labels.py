from __future__ import annotations

from pathlib import Path

import pytest

from mlnb.errors import MonitorError
from mlnb.monitor.labels import read_labels


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_a_csv_file_is_read_whatever_the_order_of_its_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "l.csv", '\ufeffLabel,note,ID\n1,"two\nlines",a\nyes,,b\n')
    assert read_labels(path) == {"a": "1", "b": "yes"}


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "b": "x"}', '{"labels": {"a": 1, "b": "x"}}', '[{"id": "a", "label": 1}, {"id": "b", "value": "x"}]'],
)
def test_json_is_read_in_three_forms(tmp_path: Path, text: str) -> None:
    assert read_labels(written(tmp_path, "l.json", text)) == {"a": 1, "b": "x"}


def test_several_values_are_read_from_lists_objects_and_columns(tmp_path: Path) -> None:
    assert read_labels(written(tmp_path, "l.json", '{"a": [1, null], "b": {"h2": 3}}')) == {
        "a": [1, None],
        "b": {"h2": 3},
    }
    assert read_labels(written(tmp_path, "l.csv", "H1,id,h2\n1,a,\n2,b,3\n")) == {
        "a": {"H1": "1"},
        "b": {"H1": "2", "h2": "3"},
    }


def test_a_repeated_label_is_one_label(tmp_path: Path) -> None:
    assert read_labels(written(tmp_path, "l.csv", "id,value\na,1\na,1\n")) == {"a": "1"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "id,label\na,1\na,2\n", "two labels, '1' and '2'"),
        ("l.csv", "id,label\na,\n", "the label '' at line 2"),
        ("l.csv", "id,label\n,1\n", "no prediction id at line 2"),
        ("l.csv", "key,label\na,1\n", "has the columns key, label, not id and label"),
        ("l.csv", "", "has the columns none"),
        ("l.csv", "id,label\n", "holds no labels"),
        ("l.json", "{", "is not JSON"),
        ("l.json", "3", "holds a int, not labels"),
        ("l.json", '[{"id": "a"}]', "Entry 1 .* has no id and label"),
        ("l.json", '{"a": null}', "the label None at id 'a'"),
        ("l.json", '{"a": [[1]]}', r"the label \[\[1\]\] at id 'a'"),
        ("l.json", '{"a": [null]}', r"the label \[None\] at id 'a'"),
        ("l.csv", "id,h1,h2\na,,\n", "the label '' at line 2"),
    ],
)
def test_a_bad_file_is_refused_and_the_place_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(MonitorError, match=message):
        read_labels(written(tmp_path, name, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MonitorError, match=r"none\.csv cannot be read: No such file"):
        read_labels(tmp_path / "none.csv")


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(b"id,label\na,\xff\n")
    with pytest.raises(MonitorError, match="is not UTF-8"):
        read_labels(tmp_path / "l.csv")
