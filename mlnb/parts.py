"""A folder becomes the parts of a project; each is made, and its libraries are loaded, when it is first asked for."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from mlnb import plugins
from mlnb.errors import UsageError
from mlnb.identity import who
from mlnb.settings import Settings, read_settings
from mlnb.store.folder import StateFolder
from mlnb.store.undone import Undone

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlnb.effects import Courier
    from mlnb.judging.case import Bench
    from mlnb.lookout import Lookout
    from mlnb.registry.audit import Audit
    from mlnb.registry.outbox import Outbox
    from mlnb.registry.registry import Registry
    from mlnb.retrain.retrainer import Retrainer
    from mlnb.run.runs import Runs
    from mlnb.service.target import Target
    from mlnb.ship import Notify, Yard
    from mlnb.store.ledger import Ledger


class Parts:
    """What a project is made of.

    Parameters
    ----------
    root : Path or str
        The project's folder; its state lies in ``.mlnb`` below.
    actor : str
        Who acts, as `mlnb.identity` writes it; by default whom this process' environment names.
    """

    def __init__(self, root: Path | str, actor: str = "") -> None:
        self.root = Path(root).resolve()
        self._actor = actor

    @property
    def actor(self) -> str:
        """Who acts, for the policy and the audit log."""
        return self._actor or who()

    @classmethod
    def find(cls, start: Path | None = None, notebook: Path | None = None) -> Self:
        """Return the project of a notebook or folder.

        That is the nearest folder above with ``.mlnb`` or a pyproject.toml that has ``[tool.mlnb]``; else the
        notebook's own folder.

        Parameters
        ----------
        start : Path
            Where to begin, where no notebook is given; the working directory if nothing is.
        notebook : Path
            A notebook of the project.

        Raises
        ------
        UsageError
            If no notebook is given and there is no project at or above `start`.
        """
        first = notebook.resolve().parent if notebook is not None else (start or Path.cwd()).resolve()
        for folder in (first, *first.parents):
            if (folder / ".mlnb" / "format.json").is_file() or _is_project(folder / "pyproject.toml"):
                return cls(folder)
        if notebook is None:
            raise UsageError(
                f"There is no mlnb project at or above {first}.",
                "Run a notebook there first (mlnb run NOTEBOOK), or name the project: --project DIR.",
            )
        return cls(first)

    @cached_property
    def settings(self) -> Settings:
        """What ``[tool.mlnb]`` and ``MLNB_*`` say."""
        return read_settings(self.root, os.environ)

    @cached_property
    def state(self) -> StateFolder:
        """The ``.mlnb`` folder, made where it is missing."""
        return StateFolder.open(self.root, self.settings.shared_cache, self.settings)

    @cached_property
    def runs(self) -> Runs:
        """What was run."""
        from mlnb.run.runs import Runs

        return Runs(self.state)

    @cached_property
    def models(self) -> Registry:
        """Versions and aliases."""
        from mlnb.registry.policy import read_policy
        from mlnb.registry.registry import Registry

        return Registry(self.ledger, self.state.files, policy=read_policy(self.settings.policy))

    @cached_property
    def audit(self) -> Audit:
        """Who did what."""
        from mlnb.registry.audit import Audit

        return Audit(self.ledger)

    @property
    def bench(self) -> Bench:
        """Where gates look things up."""
        from mlnb.judging.case import Bench

        return Bench(self.models, self.audit, self.state, self.settings)

    @cached_property
    def outbox(self) -> Outbox:
        """The effects that are still to be done."""
        from mlnb.registry.outbox import Outbox

        return Outbox(self.ledger)

    @cached_property
    def effects(self) -> Courier:
        """What moves of aliases must cause elsewhere, and have not yet."""
        from mlnb.effects import Courier

        return Courier(self.outbox, self.models, self.services, self.settings, self.state)

    @property
    def alarms(self) -> Lookout:
        """What has changed beyond its tolerance: check, list, acknowledge."""
        from mlnb.lookout import Lookout
        from mlnb.registry.alarms import Alarms

        return Lookout(self.models, Alarms(self.ledger), self.effects, self.settings, self.state, self.actor)

    @property
    def left_undone(self) -> bool:
        """Whether a promotion or rollback has left effects that nobody is at; opens nothing."""
        return bool(Undone(self.root / ".mlnb" / "effects").left())

    @cached_property
    def services(self) -> Target:
        """What answers."""
        make = cast("Callable[[StateFolder, Settings], Target]", plugins.load("mlnb.targets", self.settings.target))
        return make(self.state, self.settings)

    @cached_property
    def retraining(self) -> Retrainer:
        """What makes models anew, on the terms of ``[tool.mlnb.retrain]``."""
        from mlnb.retrain.retrainer import Retrainer

        return Retrainer(self.yard, self.ledger, self.settings.retrain, check=self.alarms.check)

    @cached_property
    def ledger(self) -> Ledger:
        """The database of versions, aliases and audit."""
        from mlnb.store.ledger import Ledger

        return Ledger(self.state.ledger)

    def yard(self, notify: Notify | None) -> Yard:
        """Return where things are shipped, and who is told of it."""
        from mlnb.ship import Yard

        parts = (self.state, self.settings, self.models, self.audit, self.services, self.effects)
        return Yard(*parts, self.actor, notify or silent)


def _is_project(path: Path) -> bool:
    try:
        return path.is_file() and "[tool.mlnb" in path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def silent(event: object) -> None:
    """Tell nobody."""
