"""Promotes, rolls back and collects garbage in a project, over and over, until it is killed.

``acts_worker.py FOLDER SEED``; says "ready" once everything is imported and the first act has begun.
"""

from __future__ import annotations

import random
import sys
from datetime import timedelta
from pathlib import Path

from mlnb.errors import RegistryError
from mlnb.garbage import collect
from mlnb.project import Project


def act(project: Project, draw: random.Random) -> None:
    """Do one act, drawn at random."""
    chosen = draw.choice(["promote", "promote", "rollback", "to", "gc"])
    if chosen == "promote":
        project.promote(f"late/{draw.randint(1, 3)}", "production", reason="better")
    elif chosen == "gc":
        collect(project.state, project.ledger, older_than=timedelta(0))
    else:
        try:
            project.rollback("late", "production", to=draw.randint(1, 3) if chosen == "to" else 0)
        except RegistryError:  # nothing lies beneath, or it has never held the alias
            return


if __name__ == "__main__":
    here, chance = Project(Path(sys.argv[1])), random.Random(int(sys.argv[2]))
    here.models.list()
    print("ready", flush=True)
    while True:
        act(here, chance)
