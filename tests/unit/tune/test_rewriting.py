"""Better values in the notebook's own parameters cell."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.pipeline.graph import Json, Pipeline
from mlnb.tune.rewriting import rewritten


def pipeline_of(folder: Path, source: str) -> Pipeline:
    cells = [(source, ["parameters"]), ("%%stage use\nprint(1)", [])]
    path = folder / "nb.ipynb"
    listed = [
        {
            "cell_type": "code",
            "id": f"c{n}",
            "metadata": {"tags": tags},
            "source": text,
            "outputs": [],
            "execution_count": None,
        }
        for n, (text, tags) in enumerate(cells)
    ]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": listed}))
    return build_pipeline(read_document(path))


def test_only_the_literals_change(tmp_path: Path) -> None:
    source = "# grösse 😀\nC = 1.0  # how much\nname: str = 'ä'; depth = 3\nlayers = [\n    8,  # one\n]\nkept = 2e2"
    made = pipeline_of(tmp_path, source)
    found = rewritten(made, {"C": 0.5, "name": "b", "depth": 4, "layers": [8, 4], "kept": 200.0})
    assert found == {
        1: (source, '# grösse 😀\nC = 0.5  # how much\nname: str = "b"; depth = 4\nlayers = [8, 4]\nkept = 2e2')
    }


def test_values_that_are_there_already_change_nothing(tmp_path: Path) -> None:
    assert rewritten(pipeline_of(tmp_path, "C = 1.0\nflag = True"), {"C": 1.0, "flag": True}) == {}


def test_the_declaration_that_holds_is_the_one_that_changes(tmp_path: Path) -> None:
    _, after = rewritten(pipeline_of(tmp_path, "C = 1.0\nC = 2.0"), {"C": 3.0})[1]
    assert after == "C = 1.0\nC = 3.0"


VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(before=VALUES, value=VALUES)
def test_the_changed_cell_declares_exactly_the_new_value(tmp_path_factory, before: Json, value: Json) -> None:
    folder = tmp_path_factory.mktemp("nb")
    made = pipeline_of(folder, f"first = 1; x = {before!r}  # note\nlast = 'z'")
    source = rewritten(made, {"x": value}).get(1, ("", made.parameter_cells[0].source))[1]
    names: dict[str, object] = {}
    exec(source, names)
    assert names["x"] == value
    assert (names["first"], names["last"]) == (1, "z")
    assert source.endswith("# note\nlast = 'z'")
