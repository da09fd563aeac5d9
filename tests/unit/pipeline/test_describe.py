"""A plan is told in lines, in JSON and in a picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.pipeline.describe import describe, facts
from mlnb.pipeline.drawing import svg
from mlnb.pipeline.graph import Pipeline
from mlnb.pipeline.layout import Box, place

Plan = Callable[..., Pipeline]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def pipeline(plan: Plan) -> Pipeline:
    """Return a small pipeline with everything in it."""
    return plan(
        "import json",
        ("n: int = 3\nname = 'a<b'", ["parameters"]),
        "%%stage load\ndf = [n]\nold = 1",
        "df[0]",
        "%%stage train --metrics auc --slices origin\nimport mlnb\nmodel = df\nauc = mlnb.evaluate(df, df)[0]",
        "%%stage report --after train\nprint(df)",
        "%%test train\nassert auc",
        "%%deploy delays --model model --sample df --gate 'auc >= 0.8'",
    )


def test_the_text_says_what_runs_and_what_does_not(pipeline: Pipeline) -> None:
    assert list(describe(pipeline)) == [
        "nb.ipynb: 3 stages, 1 tested stage, 1 deploy",
        '  parameters  n: int = 3, name: str = "a<b"',
        "  setup       cell 1, before every stage",
        "  load        cell 3",
        "              reads n",
        "              gives df",
        "  train       cell 5",
        "              takes df from load",
        "              gives model, auc",
        "              metrics auc by origin",
        "  test-train  cell 7",
        "              takes auc from train",
        "  report      cell 6",
        "              takes df from load",
        "              after train",
        "  deploy      delays (cell 8) to staging",
        "              takes model from train, df from load",
        "              gate auc >= 0.8",
        "not run: cell 4",
    ]


def test_the_facts_are_json_and_complete(pipeline: Pipeline) -> None:
    told = json.loads(json.dumps(facts(pipeline)))
    assert told["format"] == 1
    assert told["parameters"][0] == {"name": "n", "type": "int", "default": 3, "cell": 2}
    assert [stage["name"] for stage in told["stages"]] == ["load", "train", "test-train", "report"]
    assert told["stages"][1]["inputs"] == [{"name": "df", "from": "load"}]
    assert told["edges"] == [
        {"from": "load", "to": "train", "names": ["df"]},
        {"from": "train", "to": "test-train", "names": ["auc"]},
        {"from": "load", "to": "report", "names": ["df"]},
        {"from": "train", "to": "report", "names": []},
    ]
    assert told["deploys"][0]["gates"] == ["auc >= 0.8"]
    assert (told["setup"], told["not_run"]) == ([1], [4])


def test_the_picture_is_xml_that_names_everything_and_runs_nothing(pipeline: Pipeline) -> None:
    picture = svg(pipeline)
    root = ET.fromstring(picture)
    texts = [text.text for text in root.iter(f"{SVG}text")]
    for wanted in ("load", "train", "test train", "report", "deploy delays", "gate auc >= 0.8", "not run: cell 4"):
        assert wanted in texts
    assert len([path for path in root.iter(f"{SVG}path") if path.get("class") == "edge"]) == 6
    assert not list(root.iter(f"{SVG}script"))
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")


def test_what_people_wrote_is_escaped(plan: Plan) -> None:
    picture = svg(
        plan(
            "%%stage a\nx = 1\nmodel = 2",
            "%%deploy m --model model --sample x --gate 'model < 5' --to '\"><script>alert(1)</script>'",
        )
    )
    root = ET.fromstring(picture)
    assert not list(root.iter(f"{SVG}script"))
    assert "gate model < 5" in [text.text for text in root.iter(f"{SVG}text")]


_graphs = st.integers(1, 9).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), unique=True, max_size=14),
        st.lists(st.integers(20, 200), min_size=count, max_size=count),
    )
)


@given(_graphs)
def test_boxes_never_overlap_and_edges_always_lead_down(graph: tuple[int, list[tuple[int, int]], list[int]]) -> None:
    count, pairs, widths = graph
    edges = [(str(a), str(b)) for a, b in pairs if a < b]
    boxes = [Box(str(number), width, 30.0) for number, width in enumerate(widths)]
    layout = place(boxes, edges, gap=10.0, layer_gap=40.0)
    assert set(layout.centres) == {str(number) for number in range(count)}
    for one in boxes:
        x, y = layout.centres[one.name]
        assert x - one.width / 2 >= -1e-6
        assert x + one.width / 2 <= layout.width + 1e-6
        assert 15 - 1e-6 <= y <= layout.height - 15 + 1e-6
        for other in boxes:
            if one.name < other.name and abs(layout.centres[other.name][1] - y) < 1:
                assert abs(layout.centres[other.name][0] - x) >= (one.width + other.width) / 2 + 10 - 1e-6
    for edge in edges:
        ys = [y for _, y in layout.paths[edge]]
        assert ys == sorted(set(ys))
        assert layout.paths[edge][0] == layout.centres[edge[0]]
        assert layout.paths[edge][-1] == layout.centres[edge[1]]
    assert place(boxes, edges, gap=10.0, layer_gap=40.0) == layout


def test_an_empty_graph_has_no_size() -> None:
    layout = place([], [], gap=1.0, layer_gap=1.0)
    assert (layout.width, layout.height) == (0.0, 0.0)
