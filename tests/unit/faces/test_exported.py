"""`models show` tells which exporter was taken and why; `models smaller` measures and writes what is asked for."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from mlnb.faces.exported import export_lines
from mlnb.project import Project
from mlnb.registry.version import Version
from tests.unit.faces.conftest import Mlnb


@pytest.fixture
def version(registered) -> Version:
    return Project(registered).models.get("delays/2")


def test_show_tells_order_refusals_and_every_part(version, package):
    told = json.loads((package / "package.json").read_bytes())
    text = "\n".join(export_lines(replace(version, parity={**told["parity"], "choice": told["choice"]})))
    assert text.startswith("exporter: onnx (float64")
    assert "tried in this order: onnx, skops, native" in text
    assert "parity: on 80 rows the largest difference is " in text
    assert "  one row: 16 rows, " in text
    assert "unseen category: carrier: the estimator raises ValueError: Found unknown categories" in text
    refused = {"exporter": "onnx", "kind": "unsupported", "why": "the step f is Python code", "remedy": "Write it so."}
    choice = {**told["choice"], "exporter": "skops", "refused": [{**refused, "parity": None}]}
    text = "\n".join(export_lines(replace(version, exporter="skops", parity={**told["parity"], "choice": choice})))
    assert "exporter: skops" in text
    assert "not onnx cannot hold it (the step f is Python code)\n  Write it so." in text


def test_a_version_of_an_older_mlnb_tells_what_it_has(version):
    assert list(export_lines(version)) == ["exporter: onnx", "parity: flips 0, max_abs 1e-07, rows 100"]


def test_smaller_models_are_measured_and_none_is_taken(mlnb: Mlnb, registered):
    before = {path for path in registered.rglob("*") if path.is_file()}
    told = mlnb("models", "smaller", "delays/2", "--json").json()
    found = {one["name"]: one for one in told["candidates"]}
    assert list(found) == ["as it is", "float32", "float16", "int8"]
    assert found["as it is"]["parity"]["max_abs"] < 1e-12
    assert 0 < found["float32"]["parity"]["max_abs"] < 1e-6
    assert all(one["row_ms"] > 0 and one["thousand_ms"] > 0 for one in found.values())
    assert {path for path in registered.rglob("*") if path.is_file()} - before == set()
    assert "ms 1,000 rows" in mlnb("models", "smaller", "delays/2").out.splitlines()[0]


def test_the_one_that_is_asked_for_is_written(mlnb: Mlnb, registered):
    ran = mlnb("models", "smaller", "delays/2", "--take", "float32", "--out", "small.onnx")
    assert (ran.code, ran.out) == (0, "small.onnx\n")
    session = onnxruntime.InferenceSession(str(registered / "small.onnx"))
    feed = {"distance": np.array([[37.0]]), "carrier": np.array([["UA"]], dtype=object)}
    _, chances = session.run(None, feed)
    assert chances.dtype == np.float32


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--take", "float32"), "--take and --out belong together."),
        (
            ("--take", "int3", "--out", "x.onnx"),
            "There is no smaller model 'int3'. Ask for one of float32, float16, int8.",
        ),
    ],
)
def test_what_cannot_be_written_is_told(mlnb: Mlnb, registered, words, said):
    ran = mlnb("models", "smaller", "delays/2", *words)
    assert ran.code == 2 and said in ran.err.replace("\n", " ")


def test_a_card_shows_shap_values_where_they_are_asked_for(mlnb: Mlnb, registered):
    plain = mlnb("models", "card", "delays/2")
    assert "SHAP" not in plain.out
    shown = mlnb("models", "card", "delays/2", "--shap", "--html", "card.html")
    assert (shown.code, shown.out.strip()) == (0, "The card of delays/2 is in card.html.")
    page = (registered / "card.html").read_text("utf-8")
    assert page.count("<svg") >= 2 and "Shares of the " in page
    ranked = mlnb("models", "explain", "delays/2").out.splitlines()
    name, size = next(line for line in ranked if line.startswith(("distance", "carrier"))).split()
    assert f"<td>{name}</td>" in page and size[:6] in page


def test_pmml_without_java_is_a_sentence_and_the_remedy(mlnb: Mlnb, registered):
    ran = mlnb("models", "pmml", "delays/2", "late.pmml", env={"PATH": str(registered)})
    assert ran.code == 2 and not (registered / "late.pmml").exists()
    assert ran.err.split("\n")[:2] == [
        "PMML needs Java, and there is no `java` on the path.",
        "Install a Java runtime, 11 or newer, such as Debian's default-jre-headless.",
    ]
