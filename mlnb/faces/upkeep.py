"""What keeps a project in order over the years: `gc`, `backup` and `restore`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlnb.errors import UsageError
from mlnb.faces.tables import size_text
from mlnb.faces.verb import Asked, Verb

if TYPE_CHECKING:
    from mlnb.backup import Backup
    from mlnb.garbage import Collected
    from mlnb.restore import Restored

_WORDS = {
    "artifact": "artifact",
    "bento": "Bento",
    "cache": "cache entry",
    "leftover": "leftover of a killed process",
    "object": "object of the depot",
    "run": "run",
}
_MOST_DAYS = 36_500
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(cls=Verb)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Also remove runs and results of that age which no version, no audit row and no younger run needs.",
)
@click.option(
    "--depot",
    is_flag=True,
    help="Also look through the address that holds the packages; not where another ledger uses the same one.",
)
@click.pass_obj
def gc(asked: Asked, dry_run: bool, older_than: float | None, depot: bool) -> int:
    """Remove what nothing needs: never what a version, a run, the audit log or a service does."""
    from mlnb.garbage import collect
    from mlnb.identity import who

    project = asked.project()
    if older_than is not None and not older_than <= _MOST_DAYS:  # so that nan is refused, too
        raise UsageError(f"--older-than {older_than:g} is no number of days.", f"Give 0 to {_MOST_DAYS:,}.")
    age = timedelta(days=older_than) if older_than is not None else None
    collected = collect(project.state, project.ledger, dry=dry_run, older_than=age, depot=depot)
    if collected.pieces and not dry_run:
        project.audit.record(who(), "gc", project.root.name, collected.counts())
    return asked.answer(collected, _collected_lines)


@click.command(cls=Verb)
@click.argument("file", type=_FILE)
@click.pass_obj
def backup(asked: Asked, file: Path) -> int:
    """Write the project's state to one file, while it is in use, and read it again: mlnb backup delays.mlnb."""
    from mlnb.backup import back_up
    from mlnb.identity import who

    project = asked.project()
    return asked.answer(back_up(project.state, project.ledger, file, by=who()), _backup_lines)


@click.command(cls=Verb)
@click.argument("file", type=_FILE)
@click.pass_obj
def restore(asked: Asked, file: Path) -> int:
    """Make a project's state out of a backup: mlnb restore delays.mlnb --project DIR."""
    from mlnb.identity import who
    from mlnb.project import Project
    from mlnb.restore import restore as restored

    if not file.is_file():
        raise UsageError(f"There is no file {file}.", "Name a backup that mlnb backup has written.")
    project = Project(asked.folder or Path.cwd())
    result = restored(file, project.root, project.settings, by=who())
    return asked.answer(result, _restored_lines, code=0 if result.intact else 1)


def _collected_lines(collected: Collected) -> Iterator[str]:
    verb = "would free" if collected.dry else "freed"
    counts = Counter(piece.kind for piece in collected.pieces)
    what = ", ".join(_counted(count, _WORDS[kind]) for kind, count in sorted(counts.items())) or "nothing to remove"
    yield f"{what}: {verb} {size_text(collected.size_bytes)}. {_counted(collected.kept, 'artifact')} kept."
    if collected.dry:
        yield from (f"  {piece.kind:<8} {size_text(piece.size_bytes):>9}  {piece.name}" for piece in collected.pieces)


def _backup_lines(made: Backup) -> Iterator[str]:
    how = "encrypted, " if made.encrypted else ""
    yield (
        f"{made.file}: {_counted(made.rows, 'row')} of the audit log and {_counted(made.artifacts, 'artifact')} of "
        f"{made.project}, {how}{size_text(made.size_bytes)}; read again and whole, {made.digest}."
    )
    yield from (f"Not in it: {one}, which is damaged here; no version needs it." for one in made.missing)


def _restored_lines(restored: Restored) -> Iterator[str]:
    made = restored.backup
    whose = f"the key {made.key}" + ("" if made.trusted else ", which you do not trust")
    yield f"{restored.state} is what {made.project} was at {made.made_at}; saved by {made.made_by}, signed by {whose}."
    yield f"Ledger: {restored.ledger}. {restored.sentence}"
    yield "Services are not part of a backup: deploy again, nothing will be run for it."


def _counted(count: int, word: str) -> str:
    many = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{count} {word if count == 1 else many if ' of ' not in word else word.replace(' of ', 's of ', 1)}"
