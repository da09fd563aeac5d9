"""`models mirror` and `models from-mlflow` become calls of an MLflow server, and what they answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlnb.faces.complete import model_names
from mlnb.faces.verb import Asked, Verb

if TYPE_CHECKING:
    from mlnb.platforms.mirror import Mirrored
    from mlnb.platforms.mlflow_adoption import Adopted

_NOTHING = "There is nothing to mirror yet: no model is registered in this project."
_TO = click.option(
    "--to",
    default="",
    metavar="URI",
    help="The MLflow server; else MLFLOW_TRACKING_URI, or `mlflow` in [tool.mlnb].",
)


@click.command("mirror", cls=Verb)
@click.argument("model", default="", shell_complete=model_names)
@_TO
@click.pass_obj
def mirror(asked: Asked, model: str, to: str) -> int:
    """Bring an MLflow server up to date with the versions, metrics, tags and aliases of all models, or of one."""
    told = asked.project().mlflow.mirror(model, to)
    return asked.answer(told, lambda _: [line for one in told for line in _mirrored(one)] or [_NOTHING])


@click.command("from-mlflow", cls=Verb)
@click.argument("named", metavar="RUN")
@click.option("--name", default="", metavar="NAME", help="The model's name here; by default the one it has there.")
@click.option("--model", default="", metavar="NAME", help="Which model of the run, where it has several.")
@click.option(
    "--sample",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Real rows (CSV, Parquet) to compare with.",
)
@click.option("--trust", default="", metavar="DIGEST", help="Load this file although loading can execute code.")
@click.option("--from", "server", default="", metavar="URI", help="The MLflow server, as in `models mirror --to`.")
@click.pass_obj
def from_mlflow(asked: Asked, /, named: str, server: str, **wanted: object) -> int:
    """Register the model of an MLflow run, or of models:/NAME/7, exported with proof and sealed."""
    from mlnb.platforms.mlflow_adoption import Wanted

    chosen = Wanted(named, str(wanted["name"]), str(wanted["model"]), _path(wanted["sample"]), str(wanted["trust"]))
    told = asked.project().mlflow.adopt(chosen, server)
    return asked.answer(told, _adopted)


def _mirrored(told: Mirrored) -> Iterator[str]:
    same = len(told.versions) - len(told.added)
    yield f"{told.model} on {told.server}: {len(told.added)} new, {same} there already."
    for ref in told.added:
        yield f"  {ref} is models:/{told.model}/{told.versions[ref]}"
    for alias, number in told.aliases.items():
        yield f"  {told.model}@{alias} is {number}{' (moved)' * (alias in told.moved)}"
    for alias, why in told.left_out.items():
        yield f"  {told.model}@{alias} is left out: {why}."


def _adopted(told: Adopted) -> Iterator[str]:
    verb = "is registered" if told.added else "was registered already"
    yield f"{told.version.ref} {verb}, as {told.version.exporter}: {told.version.parity.get('reason', '')}"
    yield from told.notes


def _path(value: object) -> Path | None:
    return value if isinstance(value, Path) else None
