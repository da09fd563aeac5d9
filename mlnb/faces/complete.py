"""What has been typed so far becomes what it could become: notebooks, models, versions, aliases, stages.

One source for the shell's TAB and the notebook's TAB. A completion never complains: where it cannot look, it offers
nothing.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from mlnb.errors import MlnbError
from mlnb.notebook.suffixes import NOTEBOOKS

if TYPE_CHECKING:
    from mlnb.registry.registry import Registry

_ALIASES = ("staging", "production", "challenger")


def notebooks(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer notebooks, text notebooks among them, and folders to look for them in."""
    found = []
    for name in sorted(glob.glob(glob.escape(incomplete) + "*")):  # noqa: PTH207  # a prefix, not a folder
        if Path(name).is_dir():
            found.append(CompletionItem(name + "/"))
        elif Path(name).suffix in NOTEBOOKS:
            found.append(CompletionItem(name))
    return found


def model_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the registered models."""
    return _matching(known_models(_folder(ctx)), incomplete)


def refs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer versions: ``delays/7`` and ``delays@production``."""
    return _matching(known_refs(_folder(ctx)), incomplete)


def aliases(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the aliases in use and the three that everybody uses."""
    return _matching(known_aliases(_folder(ctx)), incomplete)


def run_ids(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the runs, the newest first, and the words for the newest two."""
    folder = _runs(ctx)
    ids = sorted((path.name for path in folder.iterdir() if path.is_dir()), reverse=True) if folder else []
    return _matching(["last", "last~1", *ids] if ids else [], incomplete)


def run_stages(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the stages of the run that has been typed before."""
    from mlnb.run.runs import Runs
    from mlnb.store.folder import StateFolder

    folder = _runs(ctx)
    if folder is None:
        return []
    try:
        record = Runs(StateFolder.open(folder.parent.parent)).read(str(ctx.params.get("run") or "last"))
    except (MlnbError, OSError):
        return []
    return _matching([stage.name for stage in record.stages], incomplete)


def stages(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the stages of the notebook that has been typed before, or that the live kernel belongs to."""
    from mlnb.faces.saved import notebook_of
    from mlnb.notebook.document import read_document
    from mlnb.pipeline.build import build_pipeline

    before, comma, last = incomplete.rpartition(",")
    try:
        words = [str(ctx.params.get("notebook") or ""), *ctx.args]  # click leaves it there while an option has no value
        named = next((Path(word) for word in words if Path(word).suffix in NOTEBOOKS), None)
        path = named or notebook_of({}, os.environ, Path.cwd())
        names = [stage.name for stage in build_pipeline(read_document(path)).stages]
    except (MlnbError, OSError):
        return []
    return [CompletionItem(before + comma + name) for name in names if name.startswith(last)]


def known_models(folder: Path | None) -> tuple[str, ...]:
    """Return the names of the registered models; none where the project cannot be read."""
    try:
        registry = _registry(folder)
        return registry.models() if registry else ()
    except (MlnbError, OSError):
        return ()


def known_refs(folder: Path | None) -> tuple[str, ...]:
    """Return all versions of all models, by number and by alias."""
    try:
        registry = _registry(folder)
        if registry is None:
            return ()
        numbered = [version.ref for version in registry.list()]
        moving = [f"{model}@{alias}" for model in registry.models() for alias in registry.aliases(model)]
    except (MlnbError, OSError):
        return ()
    return tuple(numbered + moving)


def known_aliases(folder: Path | None) -> tuple[str, ...]:
    """Return the aliases in use and the usual ones."""
    used = [ref.partition("@")[2] for ref in known_refs(folder) if "@" in ref]
    return tuple(dict.fromkeys([*_ALIASES, *used]))


def _registry(folder: Path | None) -> Registry | None:
    """Return the project's registry, None where there is no project: TAB must not make one."""
    from mlnb.project import Project

    project = Project(folder) if folder else Project.find()
    made = bool(project.settings.ledger) or (project.root / ".mlnb" / "ledger.db").is_file()
    return project.models if made else None


def _runs(ctx: click.Context) -> Path | None:
    """Return the project's folder of runs, None where there is none: TAB must not make one."""
    from mlnb.project import Project

    try:
        given = _folder(ctx)
        folder = (Project(given) if given else Project.find()).root / ".mlnb" / "runs"
    except (MlnbError, OSError):
        return None
    return folder if folder.is_dir() else None


def _folder(ctx: click.Context) -> Path | None:
    value = ctx.params.get("project")
    return value if isinstance(value, Path) else None


def _matching(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]
