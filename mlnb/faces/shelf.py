"""Versions, all or those that were looked for, become a table: lines, JSON, HTML in a notebook or a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlnb.faces.complete import model_names, refs
from mlnb.faces.html_table import FONT, html_table
from mlnb.faces.tables import table
from mlnb.faces.verb import Asked, Verb, write_out
from mlnb.faces.view import Listed, moment, tags_text, version_table

if TYPE_CHECKING:
    from mlnb.project import Project
    from mlnb.registry.version import Version

_FILE = click.Path(path_type=Path)
_MOST_METRICS = 4
_WORDS = """\b
What WORDS may be:
  METRIC OP NUMBER      a number that the run has measured, in quotes
  tag:NAME[=VALUE]      a tag
  data:PATTERN          a file or address that was read, by name or digest
  param:NAME[=VALUE]    a parameter
  model: alias: by: exporter: notebook: commit: run:
  since:DAY until:DAY   when it was registered
  WORD                  somewhere in model, tags, notebook, data"""
_CHIP = "display:inline-block;border-radius:9px;padding:0 8px;margin-right:5px;font-size:11.5px;line-height:18px"
_HUES = {"production": "#2e7d32", "staging": "#1d5fa8", "challenger": "#b45309"}
_PAGE = f"body{{margin:24px;background:#fff;color:#1f2937;{FONT}}}"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@click.command("list", cls=Verb)
@click.argument("model", default="", shell_complete=model_names)
@click.option("--html", type=_FILE, metavar="FILE", help="Write a page that opens without a network.")
@click.pass_obj
def list_versions(asked: Asked, model: str, html: Path | None) -> int:
    """List the versions of all models, or of one."""
    listed = Listed.of(asked.project().models, model)
    if html is not None:
        write_out(html, page(shelf_html(listed), f"Versions of {model}" if model else "Versions"))
        return asked.answer(listed.versions, lambda _: [f"The table is in {html}."])
    return asked.answer(listed.versions, lambda _: version_table(listed))


@click.command("search", cls=Verb, epilog=_WORDS)
@click.argument("words", nargs=-1, required=True)
@click.option("--best", default="", metavar="METRIC", help="The best by this metric first.")
@click.option("-n", "limit", type=click.IntRange(1), default=None, metavar="N", help="Only the first N.")
@click.option("--html", type=_FILE, metavar="FILE", help="Write a page that opens without a network.")
@click.pass_obj
def search(asked: Asked, words: tuple[str, ...], best: str, limit: int | None, html: Path | None) -> int:
    """Look for versions by metric, tag, data and more.

    All words must be true of a version: `search "auc >= 0.8" tag:owner=ada data:flights.csv`.
    """
    found = searched(asked.project(), words, best, limit or 0)
    if html is not None:
        write_out(html, page(shelf_html(found, best), f"Versions: {' '.join(words)}"))
        return asked.answer(found.versions, lambda _: [f"The table is in {html}."])
    return asked.answer(found.versions, lambda _: _found_lines(found, best))


@click.command("tag", cls=Verb)
@click.argument("ref", shell_complete=refs)
@click.argument("tags", nargs=-1, required=True, metavar="NAME[=VALUE]...")
@click.pass_obj
def tag(asked: Asked, ref: str, tags: tuple[str, ...]) -> int:
    """Write tags on a version: `models tag delays/7 owner=ada reviewed`.

    Each change is in the audit log.
    """
    project = asked.project()
    for one in tags:
        name, _, value = one.partition("=")
        version = project.models.tag(ref, name, value, by=project.actor)
    return asked.answer({"ref": version.ref, "tags": version.tags}, lambda _: [_tags_line(version)])


@click.command("untag", cls=Verb)
@click.argument("ref", shell_complete=refs)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.pass_obj
def untag(asked: Asked, ref: str, names: tuple[str, ...]) -> int:
    """Take tags off a version; the audit log keeps that they were there."""
    project = asked.project()
    for name in names:
        version = project.models.untag(ref, name, by=project.actor)
    return asked.answer({"ref": version.ref, "tags": version.tags}, lambda _: [_tags_line(version)])


def searched(project: Project, words: Sequence[str], best: str, limit: int) -> Listed:
    """Return the versions of which all is true, and the aliases that point to them.

    Raises
    ------
    UsageError
        If a word cannot be read.
    """
    from mlnb.model.metric_names import better, candidates
    from mlnb.registry.search import parse_query, ranked

    versions = project.models.search(parse_query(words, datetime.now(UTC)))
    if best:
        known = next((name for name in (best, *candidates(best)) if better(name)), best)
        versions = ranked(versions, best, -1 if better(known) == "lower" else 1)
    versions = versions[:limit] if limit else versions
    return Listed.over(project.models, versions)


def show(listed: Listed, best: str = "") -> None:
    """Display the table in a notebook."""
    from IPython.display import display

    from mlnb.faces.html import bundle

    display(bundle(shelf_html(listed, best), "\n".join(_found_lines(listed, best))), raw=True)


def shelf_html(listed: Listed, best: str = "") -> str:
    """Return the versions as a table of HTML, the newest of each model first unless they are ranked."""
    if not listed.versions:
        return f'<p style="{FONT}">No versions.</p>'
    order = listed.versions if best else tuple(reversed(listed.versions))
    names = _metric_names(order, best)
    tagged = any(one.tags for one in order)
    heads = ["version", "aliases", *names, *(["tags"] if tagged else []), "data", "registered", "by"]
    rows = [
        [
            f"<b>{escape(one.ref)}</b>",
            "".join(_chip(alias) for alias in listed.aliases.get(one.ref, ())),
            *(_number(one.metrics, name) for name in names),
            *([escape(tags_text(one.tags))] if tagged else []),
            escape(_data_text(one)),
            escape(moment(one.created_at)),
            escape(one.created_by),
        ]
        for one in order
    ]
    return f'<div class="mlnb-shelf" style="{FONT}">{html_table(heads, rows)}</div>'


def page(body: str, title: str) -> str:
    """Return HTML as one page: no script, no file beside it, no network."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_PAGE}</style></head><body>{body}</body></html>\n"
    )


def _found_lines(listed: Listed, best: str) -> Iterator[str]:
    if not listed.versions:
        yield "No version is so."
        return
    if not best:
        yield from version_table(listed)
        return
    from mlnb.registry.search import measured

    rows = [
        (
            one.ref,
            ", ".join(listed.aliases.get(one.ref, ())),
            measured(one.metrics, best),
            tags_text(one.tags),
            moment(one.created_at),
        )
        for one in listed.versions
    ]
    yield from table(("version", "aliases", best, "tags", "created"), rows)


def _tags_line(version: Version) -> str:
    return f"{version.ref}: {tags_text(version.tags) or 'no tags'}"


def _metric_names(versions: Sequence[Version], best: str) -> list[str]:
    """Return the metrics that most versions have, the asked one first."""
    counts: dict[str, int] = {}
    for version in versions:
        for name in version.metrics:
            if "." not in name and "[" not in name and name != best:
                counts[name] = counts.get(name, 0) + 1
    common = sorted(counts, key=lambda name: -counts[name])
    return [*filter(None, [best]), *common][:_MOST_METRICS]


def _number(metrics: Mapping[str, float], name: str) -> str:
    from mlnb.registry.search import measured

    value = measured(metrics, name)
    return "" if math.isnan(value) else f'<span style="font-variant-numeric:tabular-nums">{value:.4g}</span>'


def _data_text(version: Version) -> str:
    names = [path.rpartition("/")[2] or path for path, _ in version.lineage.data]
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _chip(alias: str) -> str:
    return f'<span style="{_CHIP};background:{_HUES.get(alias, "#5f6b7a")};color:#fff">{escape(alias)}</span>'
