"""A project with a notebook that makes, tests and deploys a small model."""

from __future__ import annotations

import json
from pathlib import Path

CELLS = [
    "from sklearn.datasets import load_wine\nfrom sklearn.linear_model import LogisticRegression\n"
    "from sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import StandardScaler",
    "%%stage train\nX, y = load_wine(return_X_y=True, as_frame=True)\nsample = X[::3]\n"
    "model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y)\n"
    "accuracy = float(model.score(X, y))",
    '%%deploy wine --model model --sample sample --gate "accuracy >= 0.9" --to staging',
]


def write_project(folder: Path) -> Path:
    """Make the folder of a project and its notebook ``wine.ipynb``."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[tool.mlnb]\n")
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(CELLS)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "wine.ipynb").write_text(json.dumps(content))
    return folder
