"""Lineage as values: JSON of both formats, what must be kept, and the graph."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mlnb.registry.lineage import FORMAT, Lineage, Step
from mlnb.registry.lineage_graph import Graph, lineage_graph, picture
from mlnb.registry.version import Version

D = [f"sha256:{number:064x}" for number in range(10)]
STEPS = (
    Step("prepare", key=D[1], run="r0", reads=("a.csv", "b.csv"), parameters=("late",), gives=(("flights", D[2]),)),
    Step("train", key=D[3], notebook=D[4], takes=(("prepare", "flights"),), gives=(("model", D[5]), ("rows", D[6]))),
    Step("measure", takes=(("train", "model"), ("train", "rows")), gives=(("auc", D[7]),)),
    Step("test-measure", "test", takes=(("measure", "auc"),), cases=(("test_a", "passed"), ("test_b", "failed"))),
)
WHOLE = Lineage(
    run="r1",
    notebook="nb/late.ipynb",
    notebook_digest=D[0],
    git_commit="c" * 40,
    git_dirty=True,
    parameters={"late": 15},
    data=(("a.csv", D[1]), ("b.csv", D[2])),
    environment=D[8],
    stages={"prepare": D[1]},
    notebook_source=D[0],
    git_diff=D[9],
    modules=(("late.py", D[3]), ("edited.py", "")),
    steps=STEPS,
    model="train.model",
    sample="train.rows",
    place={"host": "here", "python": "3.11"},
    started_at="2026-03-03T09:00:00.000000Z",
)


def version(lineage: Lineage = WHOLE) -> Version:
    at = datetime(2026, 3, 3, 9, tzinfo=UTC)
    return Version(
        "late",
        7,
        at,
        "ada",
        "sha256:00",
        "onnx",
        {"model.onnx": D[1]},
        {"auc": 0.8, "measure.auc": 0.8},
        lineage,
        {},
        {},
    )


def edges(graph: Graph) -> set[tuple[str, str]]:
    return {(edge.giver, edge.taker) for edge in graph.edges}


def test_a_lineage_comes_back_from_its_json() -> None:
    assert Lineage.from_json(json.loads(json.dumps(WHOLE.to_json()))) == WHOLE
    assert Lineage.from_json(json.loads(json.dumps(Lineage().to_json()))) == Lineage()


def test_a_lineage_of_format_1_is_read() -> None:
    old = (
        "run",
        "notebook",
        "notebook_digest",
        "git_commit",
        "git_dirty",
        "parameters",
        "data",
        "environment",
        "stages",
    )
    written = {name: WHOLE.to_json()[name] for name in old}
    read = Lineage.from_json(written)
    assert (read.run, read.data, read.stages, read.steps) == ("r1", WHOLE.data, WHOLE.stages, ())


@pytest.mark.parametrize(
    "change", [{"format": FORMAT + 1}, {"steps": {}}, {"data": "x"}, {"modules": [["one"]]}, {"place": 3}]
)
def test_a_lineage_that_somebody_altered_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Lineage.from_json(WHOLE.to_json() | change)


def test_all_stored_bytes_that_it_names_are_to_be_kept() -> None:
    assert set(WHOLE.digests()) == {D[0], D[3], D[4], D[8], D[9]}
    assert Lineage().digests() == ()


def test_the_graph_leads_from_data_and_code_through_the_stages_to_the_version() -> None:
    graph = lineage_graph(version(), packages=3)
    found = edges(graph)
    assert {("data:a.csv", "stage:prepare"), ("parameters", "stage:prepare"), ("commit", "notebook")} <= found
    assert ("stage:prepare", "stage:train") in found
    carried = {(edge.giver, edge.taker): edge.carries for edge in graph.edges}
    assert carried["stage:train", "stage:measure"] == ("model", "rows")
    assert carried["stage:train", "version:late/7"] == ("model", "rows")
    assert ("version:late/7", "file:model.onnx") in found
    assert ("notebook", "stage:train") in found and ("environment", "stage:measure") in found
    ids = [node.id for node in graph.nodes]
    assert len(ids) == len(set(ids)) and {end for pair in found for end in pair} <= set(ids)
    commit = next(node for node in graph.nodes if node.id == "commit")
    assert commit.digest == D[9] and "kept as" in commit.facts["local changes"]


def test_the_picture_folds_what_is_alike_and_leaves_out_what_is_implied() -> None:
    many = tuple((f"part-{number}.csv", D[number]) for number in range(9))
    step = replace(STEPS[0], reads=tuple(path for path, _ in many))
    drawn = picture(lineage_graph(version(replace(WHOLE, data=many, steps=(step, *STEPS[1:])))))
    assert "9 files" in drawn and drawn.count("part-") <= 4 + 1
    assert "test measure" in drawn and ">failed<" in drawn
    assert "<script" not in drawn and "http://" not in drawn.replace("http://www.w3.org/2000/svg", "")
    plain = picture(lineage_graph(version()))
    assert plain.count('class="edge"') < len(edges(lineage_graph(version()))) - 1


def test_names_that_people_chose_are_text_in_the_picture() -> None:
    evil = replace(WHOLE, parameters={"<script>alert(1)</script>": 1}, data=(('"><img src=x>', D[1]),), steps=())
    drawn = picture(lineage_graph(version(evil)))
    assert "<script>" not in drawn and "<img" not in drawn


def test_a_version_of_an_older_mlnb_has_a_graph_too() -> None:
    found = edges(lineage_graph(version(replace(WHOLE, steps=()))))
    assert {("data:a.csv", "notebook"), ("parameters", "notebook"), ("notebook", "version:late/7")} <= found
