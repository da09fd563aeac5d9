"""The options that say how a pipeline is run, the same for every verb that runs one, become a `RunOptions`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from mlnb.errors import UsageError
from mlnb.faces.complete import stages

if TYPE_CHECKING:
    from mlnb.run.options import RunOptions

Answer = TypeVar("Answer")
_KERNELS = ("fork", "pool", "spawn")
_RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}|last")


def _names(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for text in given for name in text.split(",") if name.strip()))


def _stages(word: str, name: str, text: str) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    return click.option(word, name, multiple=True, callback=_names, metavar="STAGE", help=text, shell_complete=stages)


_HOW = (
    click.option("--verify", is_flag=True, help="Read all bytes of cached results before they are trusted."),
    click.option("--kernel", type=click.Choice(_KERNELS), help="How kernels are made; the default is fork."),
    click.option("--executor", default="", metavar="ADDRESS", help="Where stages run: local, or dask://HOST:PORT."),
    click.option("-j", "--jobs", type=click.IntRange(1), help="Stages at once at the most; default: the cores."),
)
_WHICH = (
    click.option("--force", is_flag=True, help="Run every stage, whether it changed or not."),
    _stages("--from", "start", "Run this stage and all behind it, whether they changed or not."),
    _stages("--only", "only", "Run this stage alone; what it takes must be in the cache."),
    _stages("--until", "until", "Run this stage and what it needs, nothing behind it."),
    click.option("--snapshot", is_flag=True, help="Keep a copy of every data file that is read."),
    click.option(
        "--resume",
        is_flag=False,
        flag_value="last",
        default="",
        metavar="[RUN]",
        help="Go on with an unfinished run, the newest if none is named: its parameters, its options.",
    ),
)


def how_to_run(verb: Callable[..., Answer]) -> Callable[..., Answer]:
    """Give a verb the options that say how stages are executed; it is called with one `options`."""

    @wraps(verb)
    def called(
        *given: object, verify: bool, kernel: str | None, executor: str, jobs: int | None, **rest: object
    ) -> Answer:
        from mlnb.run.options import RunOptions

        options = RunOptions(verify=verify, kernel=kernel or "", executor=executor, jobs=jobs or 0)
        return verb(*given, options=options, **rest)

    return _with(called, _HOW)


def what_to_run(verb: Callable[..., Answer]) -> Callable[..., Answer]:
    """Give a verb all options of a run; it is called with one `options`, and a notebook that ``--resume`` may omit."""

    @wraps(verb)
    def called(*given: object, options: RunOptions, notebook: Path | None, resume: str, **rest: object) -> Answer:
        from mlnb.run.options import RunOptions

        if resume and not _RUN_ID.fullmatch(resume) and notebook is None:
            notebook, resume = Path(resume), "last"  # mlnb run --resume train.ipynb
        if notebook is None and not resume:
            raise UsageError("Missing argument 'NOTEBOOK'.", "Name a notebook, or go on with a run: --resume.")
        which = {name: rest.pop(name) for name in ("force", "start", "only", "until", "snapshot")}
        chosen = RunOptions(
            verify=options.verify,
            kernel=options.kernel,
            executor=options.executor,
            jobs=options.jobs,
            resume=resume,
            **which,  # type: ignore[arg-type]  # click has checked each
        )
        return verb(*given, notebook=notebook, options=chosen, **rest)

    return _with(how_to_run(called), _WHICH)


def _with(
    verb: Callable[..., Answer], options: tuple[Callable[[Callable[..., Answer]], Callable[..., Answer]], ...]
) -> Callable[..., Answer]:
    for option in reversed(options):
        verb = option(verb)
    return verb
