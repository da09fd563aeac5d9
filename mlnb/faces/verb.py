"""The words of every verb, ``--project``, ``--json`` and ``-q``, become one `Asked`, which also answers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from mlnb.errors import CancelledError, MlnbError, UsageError
from mlnb.faces.plain import json_text, plain

if TYPE_CHECKING:
    from mlnb.project import Project


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """How one verb was asked, and how it answers.

    Attributes
    ----------
    folder : Path or None
        ``--project``; None looks for the project from the notebook or the working directory upwards.
    as_json, quiet, events : bool
        ``--json``, ``-q`` and ``--events`` (one JSON object a line, see `mlnb.faces.progress`).
    """

    folder: Path | None = None
    as_json: bool = False
    quiet: bool = False
    events: bool = False

    def project(self, notebook: Path | None = None) -> Project:
        """Return the project that the verb is about."""
        from mlnb.project import Project

        project = Project(self.folder) if self.folder is not None else Project.find(notebook=notebook)
        self._settle(project)
        return project

    def answer(self, result: T, lines: Callable[[T], Iterable[str]], code: int = 0) -> int:
        """Print `result` as it was asked for, and return the exit code."""
        try:
            self._print(result, lines, code)
        except BrokenPipeError:  # the reader has seen enough: `mlnb runs list | head -1`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code

    def tell(self, part: T, lines: Callable[[T], Iterable[str]]) -> None:
        """Print a part of an answer that is not complete yet: as one line of JSON, or as its lines."""
        if self.as_json:
            click.echo(json.dumps(plain(part), ensure_ascii=False))
        elif not self.quiet:
            for line in lines(part):
                click.echo(line)
        sys.stdout.flush()

    def _settle(self, project: Project) -> None:
        """Do what a process that died has left undone, and what has failed before; a verb's own answer comes first."""
        if not project.left_undone:
            return
        try:
            waiting = project.effects.deliver(0.0)
        except MlnbError as error:
            click.echo(f"Effects of earlier promotions wait: {error.problem}", err=True)
            return
        for effect in waiting:
            if effect.problem:
                click.echo(f"{effect.kind} of {effect.model} still waits: {effect.problem}", err=True)

    def _print(self, result: T, lines: Callable[[T], Iterable[str]], code: int) -> None:
        if self.events:
            text = "\n".join(lines(result))
            click.echo(json.dumps({"event": "result", "code": code, "result": plain(result), "text": text}))
        elif self.as_json:
            click.echo(json_text(result))
        elif not self.quiet:
            for line in lines(result):
                click.echo(line)


class Verb(click.Command):
    """A command that also takes the words of every verb and hands its function an `Asked`."""

    def __init__(self, name: str | None, *, params: Sequence[click.Parameter] = (), **rest: object) -> None:
        common = [
            click.Option(
                ["--project"],
                type=click.Path(file_okay=False, exists=True, path_type=Path),
                metavar="DIR",
                help="The project's folder. Default: the nearest folder above that has .mlnb or [tool.mlnb].",
            ),
            click.Option(["--json", "as_json"], is_flag=True, help="Answer in JSON."),
            click.Option(["-q", "--quiet"], is_flag=True, help="Answer with the exit code only."),
        ]
        super().__init__(name, params=[*params, *common], **rest)  # type: ignore[arg-type]  # click's own keywords

    def get_short_help_str(self, limit: int = 100) -> str:
        """Return the first sentence whole: half of one helps nobody."""
        return super().get_short_help_str(max(limit, 100))

    def invoke(self, ctx: click.Context) -> object:
        """Take the common words out of the parameters, then call the function."""
        given = ctx.params
        ctx.obj = Asked(
            folder=given.pop("project"),
            as_json=given.pop("as_json"),
            quiet=given.pop("quiet"),
            events=given.pop("events", False),
        )
        return super().invoke(ctx)


class Things(click.Group):
    """A group whose commands keep the order in which they were written."""

    command_class = Verb

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names as they were added."""
        return list(self.commands)


def stopped() -> CancelledError:
    """Return what to say when the user has interrupted a verb."""
    return CancelledError("Stopped.", "What had finished is kept; repeat it to go on from there.", run="")


def write_out(path: Path, text: str, *, append: bool = False) -> None:
    """Write a file that the user asked for by name, or add to its end.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    try:
        with path.open("a" if append else "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", "Name a file in a folder you may write."
        ) from error
