"""A project whose model is retrained, small enough for a run in a second."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlnb.project import Project
from mlnb.retrain.retrainer import Retrainer
from tests.unit.faces.conftest import notebook

UNFIT = "%%stage train\nX = [1, 2]\nmodel = 'no model'"
DEPLOY = "%%deploy late --model model --sample X"


@dataclass(slots=True)
class Clock:
    """A time that tests move."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **length: float) -> None:
        self.now += timedelta(**length)


Make = Callable[..., Retrainer]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def write_project(tmp_path: Path) -> Callable[..., Project]:
    """Write a project whose notebook runs but gives no model, so that each retraining fails in a moment."""

    def write(terms: str, *, cells: Sequence[str] = ("until = ''", UNFIT, DEPLOY), settings: str = "") -> Project:
        notebook((cells[0], "parameters"), *cells[1:], path=tmp_path / "nb.ipynb")
        text = f'[tool.mlnb]\nenvironment = "installed"\n{settings}\n[tool.mlnb.retrain.late]\nnotebook = "nb.ipynb"\n'
        (tmp_path / "pyproject.toml").write_text(text + terms, "utf-8")
        return Project(tmp_path)

    return write


@pytest.fixture
def retrainer(write_project: Callable[..., Project], clock: Clock) -> Iterator[Make]:
    """Return a project's retrainer with a clock of its own; its notebook cannot be read, so nothing is run."""
    made: list[Project] = []

    def make(terms: str) -> Retrainer:
        project = write_project(terms)
        (project.root / "nb.ipynb").write_text(json.dumps({"cells": "none"}), "utf-8")
        made.append(project)
        return Retrainer(project.yard, project.ledger, project.settings.retrain, clock)

    yield make
    for project in made:
        project.ledger.close()
