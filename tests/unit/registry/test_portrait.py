"""What a run knows of a version: its importance against its labels, its groups, a person's words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import PurePath
from types import SimpleNamespace

import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

from mlnb.model.evaluate import evaluate
from mlnb.model.export import export_model
from mlnb.notebook.document import Cell
from mlnb.pipeline.graph import Deploy, Input
from mlnb.project import Project
from mlnb.registry.card import card_of, compose, importance_of, own_first
from mlnb.registry.card_sections import Known
from mlnb.registry.card_words import facts_of, renew_words, words_of
from mlnb.registry.portrait import Sitter, _told, portray
from mlnb.registry.trace import trace
from mlnb.registry.version import Draft, Version
from mlnb.run.notebooks import source_path
from mlnb.run.record import RunRecord, StageRecord
from mlnb.run.values import artifact_of
from mlnb.ship import freeze_reference
from mlnb.store.codec import decode, encode

WORDS = """# Model card

## Intended use
Second opinions.

## Fairness
Sensitive columns: `mean radius`, ward, nowhere
"""


def recorded(project: Project, words: str, number: int) -> RunRecord:
    """Return a finished run as the runner leaves it: a copy of its notebook, and what its stages gave."""
    data, target = load_breast_cancer(return_X_y=True, as_frame=True)
    sample = data[["mean radius", "mean texture"]]
    patients = data.assign(ward=["a", "b", "c"] * 189 + ["a", "b"])
    model = LogisticRegression().fit(sample[::2], target[::2])
    given = {
        "split": {"X_test": sample[1::2], "y_test": target, "patients": patients, "labels": target.to_numpy()[::-1]},
        "train": {"model": model},
    }
    store = project.state.files
    stages = tuple(
        StageRecord(
            name, "stage", "done", artifacts=tuple(encode(key, value, store, "k") for key, value in values.items())
        )
        for name, values in given.items()
    )
    record = RunRecord(f"r{number}", "nb.ipynb", "sha256:00", "", False, {}, "", "2026-11-23", "done", stages=stages)
    cells = [{"cell_type": "markdown", "id": "c", "metadata": {}, "source": words}]
    path = source_path(project.state.runs / record.id, PurePath(record.notebook))
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return record


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A project with a version that was portrayed, and the run that it is from."""
    root = tmp_path_factory.mktemp("project")
    (root / "pyproject.toml").write_text('[project]\nname = "t"\nversion = "1"\nlicense = "MIT"\n[tool.mlnb]\n')
    project = Project(root)
    record = recorded(project, WORDS, 0)
    deploy = Deploy("tumours", Cell(1, "c", "code", ""), Input("model", "train"), Input("X_test", "split"))
    model, sample = (
        decode(artifact_of(record, one.name, one.giver), project.state.files) for one in (deploy.model, deploy.sample)
    )
    package = root / "package"
    export_model(model, sample, package, model="tumours")
    portray(package, Sitter(model, sample, *freeze_reference(package, sample, "X_test")), deploy, record, project.state)
    files = {path.name: project.state.files.put(path)[0] for path in package.iterdir()}
    signature = json.loads((package / "signature.json").read_bytes())
    draft = Draft(
        "tumours", "ada", "onnx", files, {"auc": 0.9}, trace(record, deploy, project.state), signature, {"rows": 9}
    )
    return SimpleNamespace(project=project, record=record, version=project.models.register(draft), root=root)


def test_importance_is_measured_against_the_labels_of_the_samples_rows(shown: SimpleNamespace) -> None:
    found = importance_of(shown.version, shown.project.state.files)
    assert found is not None
    assert (found.measure, found.labels, found.rows) == ("roc_auc", "split.y_test", 284)
    assert found.columns[0].name == "mean radius"


def test_groups_come_from_the_sample_or_from_a_frame_with_its_rows(shown: SimpleNamespace) -> None:
    facts = facts_of(shown.version, shown.project.state.files)
    assert (facts.model, facts.sample, facts.licence, facts.rows) == ("train.model", "split.X_test", "MIT", 284)
    radius, ward = facts.fairness
    assert radius.groups[0].value.startswith("up to ")
    assert sorted((one.value, one.rows) for one in ward.groups) == [("a", 95), ("b", 95), ("c", 94)]
    assert ward.labels == "split.y_test"
    (note,) = facts.notes
    assert "'nowhere'" in note and "hand one over from a stage" in note


def test_the_card_says_all_of_it(shown: SimpleNamespace) -> None:
    project = shown.project
    card = card_of(shown.version, ({}, ()), project.models, project.state.files, project.audit)
    sections = {one.key: one for one in card.sections}
    told = json.dumps(card.to_json())
    assert " opinions." in json.dumps(sections["intended_use"].to_json())
    assert "By ward, against split.y_test; the favourable answer is 1" in told
    assert "The sample is the drift baseline" in told
    assert " [0." in json.dumps(sections["fairness"].to_json())  # a group's metric with its interval
    assert card.metadata["license"] == "mit"
    assert list(sections)[-1] == "lineage"


def test_the_cards_headline_is_the_models_and_not_a_rivals(shown: SimpleNamespace) -> None:
    truth = [0, 1] * 20
    rival, own = (evaluate(truth, scores, resamples=0) for scores in ([0.5, 0.4, 0.6, 0.7] * 10, [0.2, 0.9] * 20))
    metrics = {"loss": own["log_loss"], "evaluate.rival.auc": rival["auc"]}
    ordered = own_first({"evaluate.rival": rival, "evaluate.own": own}, metrics)
    assert list(ordered) == ["evaluate.own", "evaluate.rival"]
    card = compose(Known(replace(shown.version, metrics=metrics), {}, (), ordered))
    assert card.figures[0] == (f"{own['log_loss']:.4g}", "log_loss")


def test_an_estimator_that_says_nothing_of_itself_is_told_without_its_address() -> None:
    assert _told([object()]) == "[object]"


def test_changed_words_are_kept_without_a_new_version_and_a_gone_cell_takes_none_away(shown: SimpleNamespace) -> None:
    project, version, record = shown.project, shown.version, shown.record
    before = words_of(version, project.state.files, project.audit)
    assert not renew_words(version, record, project.state, project.audit, "bob")
    again = recorded(project, WORDS.replace("Second", "Third"), 1)
    assert renew_words(version, again, project.state, project.audit, "bob")
    after = words_of(version, project.state.files, project.audit)
    assert after[0].markdown == "Third opinions."
    assert after[1:] == before[1:]
    gone = recorded(project, "nothing", 2)
    assert not renew_words(version, gone, project.state, project.audit, "bob")
    assert words_of(version, project.state.files, project.audit) == after
    assert project.audit.verify().ok
    other = replace(version, number=99)
    assert isinstance(other, Version) and words_of(other, project.state.files, project.audit) == before
