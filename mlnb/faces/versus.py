"""``mlnb models compare --live A B`` becomes who is better: sentences and a table, JSON, in a notebook a figure.

Without ``--live`` two versions are compared at rest, see `mlnb.faces.comparison_page`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlnb.errors import UsageError
from mlnb.faces.complete import refs
from mlnb.faces.verb import Asked, Verb

if TYPE_CHECKING:
    from mlnb.monitor.shadowed import Agreement
    from mlnb.monitor.versus import Versus
    from mlnb.project import Project


_ALPHA = 0.05


@click.command("compare", cls=Verb)
@click.argument("first", metavar="A", shell_complete=refs)
@click.argument("second", metavar="B", shell_complete=refs)
@click.option("--live", is_flag=True, help="By the labels of what they have answered; look as often as you like.")
@click.option(
    "--alpha",
    type=click.FloatRange(0.0, 0.5, min_open=True),
    metavar="SHARE",
    help="How often --live may err. [0.05]",
)
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page; not with --live.")
@click.pass_obj
def compare(asked: Asked, first: str, second: str, live: bool, alpha: float | None, html: Path | None) -> int:
    """Compare two versions: on the same rows, in parameters, data and code.

    With --live by what they have answered side by side: `models compare --live late/7 late/8`.
    """
    refuse_ignored(live=live, alpha=alpha, html=html)
    if not live:
        from mlnb.faces.comparison_page import answer_compare

        return answer_compare(asked, first, second, html)
    told = compared(asked.project(), first, second, alpha)
    return asked.answer(told.to_json(), lambda _: lines(told))


def refuse_ignored(*, live: bool, alpha: float | None, html: Path | None) -> None:
    """Refuse options of ``models compare`` that would change nothing.

    Raises
    ------
    UsageError
        If there are such.
    """
    if (live and html is not None) or (alpha is not None and not live):
        raise UsageError("--alpha belongs to --live, and --html does not.", "Leave one out.")


@dataclass(frozen=True, slots=True)
class Compared:
    """Who is better; and where the second has been a shadow, how its answers compare."""

    versus: Versus
    agreement: Agreement | None

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {**self.versus.to_json(), "shadow": self.agreement.to_json() if self.agreement else None}


def compared(project: Project, first: str, second: str, alpha: float | None = None) -> Compared:
    """Compare two versions by the labels in the prediction log.

    Raises
    ------
    UsageError
        If they are one version, or of two models.
    MonitorError
        If there is nothing to compare.
    """
    from mlnb.model.signature import Signature
    from mlnb.monitor.shadowed import shadowed
    from mlnb.monitor.versus import versus
    from mlnb.service.log_reader import read_dated_labels

    versions = project.models.get(first), project.models.get(second)
    signatures = [Signature.from_json(version.signature) for version in versions]
    same_kind = len({(one.task, tuple(output.name for output in one.outputs)) for one in signatures}) == 1
    if versions[0].model != versions[1].model or versions[0].number == versions[1].number or not same_kind:
        raise UsageError(
            f"{versions[0].ref} and {versions[1].ref} do not answer the same question as two versions of one model.",
            "Name two versions of one model whose answers are of one kind.",
        )
    folder = project.state.predictions / versions[0].model
    names = [output.name for output in signatures[0].outputs]
    labels = read_dated_labels(folder)
    found = versus(
        folder,
        (versions[0].ref, versions[1].ref),
        signatures[0].task,
        names,
        labels,
        _ALPHA if alpha is None else alpha,
    )
    agreement = shadowed(folder, versions[1].number)
    return Compared(found, agreement if agreement.pairs or agreement.failed else None)


def lines(told: Compared) -> Iterator[str]:
    """Yield the finding and the two sides of it."""
    from mlnb.faces.tables import table

    found = told.versus
    yield from found.sentences()
    rows = [(side.ref, side.units, side.mean) for side in (found.first, found.second)]
    yield from table(("version", f"labelled {found.unit}s", found.metric), rows)
    if told.agreement is not None:
        yield f"{found.second.ref} as a shadow: {told.agreement.sentence()}"


def show(told: Compared) -> None:
    """Display the figure in a notebook, and the finding below it."""
    from IPython.display import display

    from mlnb.faces.card import PLOTLY
    from mlnb.faces.html import bundle, text_html
    from mlnb.monitor.versus_figure import figure

    drawn = figure(told.versus)
    text = "\n".join(lines(told))
    figure_json = {**drawn.to_plotly_json(), "config": {"displayModeBar": False, "responsive": True}}
    display({PLOTLY: figure_json, "text/plain": text}, raw=True)
    display(bundle(text_html(text), text), raw=True)
