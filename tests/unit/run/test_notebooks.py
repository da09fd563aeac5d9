from __future__ import annotations

from collections.abc import Callable

import nbformat

from mlnb.run.notebooks import assemble, executed_cells

Cells = Callable[..., dict[str, object]]


def output(text: str) -> dict[str, object]:
    return {"output_type": "stream", "name": "stdout", "text": [text]}


def test_outputs_come_to_the_cells_of_the_source_and_no_others_stay(cell: Cells, notebook: Cells) -> None:
    markdown = {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "# Title"}
    source = notebook([markdown, cell("import a", 2), cell("explore()", 3), cell("%%stage s\nx", 4), cell("y", 5)])
    for old in source["cells"][1:]:  # type: ignore[index]
        old.update(outputs=[output("stale")], execution_count=9, metadata={"mine": 1})
    first = notebook([cell("import a", 2, "setup"), cell("take()", 0, "take"), cell("x", 4)])
    second = notebook([cell("import a", 2, "setup"), cell("y", 5)])
    for number, stage in enumerate((first, second), 1):
        for at, executed in enumerate(stage["cells"], 1):  # type: ignore[arg-type]
            executed.update(outputs=[output(f"stage {number} {executed['source']}")], execution_count=at)
    before = repr(source)
    assembled = assemble(source, [first, second], "run-1")
    assert repr(source) == before
    nbformat.validate(assembled)
    shown = [(c.get("execution_count"), c.get("outputs")) for c in assembled["cells"]]  # type: ignore[attr-defined]
    assert shown == [
        (None, None),
        (1, [output("stage 1 import a")]),
        (None, []),
        (3, [output("stage 1 x")]),
        (2, [output("stage 2 y")]),
    ]
    assert assembled["metadata"]["mlnb"] == {"run": "run-1"}  # type: ignore[index]
    assert assembled["cells"][1]["metadata"] == {"mine": 1}  # type: ignore[index]


def test_the_widgets_of_all_stages_are_kept(cell: Cells, notebook: Cells) -> None:
    mime = "application/vnd.jupyter.widget-state+json"
    stages = [notebook([cell("x", 1)]), notebook([cell("y", 2)])]
    for name, stage in zip("ab", stages, strict=True):
        stage["metadata"]["widgets"] = {mime: {"version_major": 2, "version_minor": 0, "state": {name: {}}}}  # type: ignore
    assembled = assemble(notebook([cell("x", 1), cell("y", 2)]), stages, "r")
    assert sorted(assembled["metadata"]["widgets"][mime]["state"]) == ["a", "b"]  # type: ignore[index]


def test_sources_in_lines_are_read_like_sources_in_one_piece(cell: Cells) -> None:
    split = cell("x", 7)
    split["source"] = ["a = 1\n", "b = 2"]
    (read,) = executed_cells({"cells": [split]})
    assert (read.cell, read.source, read.execution_count, read.error) == (7, "a = 1\nb = 2", 0, None)
