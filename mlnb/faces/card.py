"""A model card becomes Markdown, a page that opens without a network, or what a notebook shows.

Facts and a person's words are shown as text: neither markup in them nor a script in a link can run. A person's Markdown
keeps its form; HTML inside it is shown as it was typed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from mlnb.faces.verb import write_out
from mlnb.model.card import Block, Bullets, Card, Code, Drawing, Section, Sentence, Table, Written

if TYPE_CHECKING:
    from pathlib import Path

    from mlnb.faces.verb import Asked
    from mlnb.project import Project

PLOTLY = "application/vnd.plotly.v1+json"
_MARKUP = re.compile(r"[\\`*<|]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<=\])[(\[:]|~(?=~)|&(?=#?\w+;)")
_INTERVAL = re.compile(r"\[(-?[\d.e+-]+), (-?[\d.e+-]+)\]")
_SCHEMES = ("http:", "https:", "mailto:")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
.mlnb-card { font: 14px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #1f2937; }
.mlnb-card { background: #fff; max-width: 900px; }
.mlnb-card h1 { font-size: 26px; margin: 0 0 2px; } .mlnb-card h2 { font-size: 17px; margin: 0 0 8px; }
.mlnb-card h3, .mlnb-card h4, .mlnb-card h5, .mlnb-card h6 { font-size: 14px; margin: 12px 0 4px; }
.mlnb-card p { margin: 0 0 8px; } .mlnb-card ul, .mlnb-card ol { margin: 0 0 8px; padding-left: 22px; }
.mlnb-card section { border-top: 1px solid #e2e8f0; padding: 14px 0 8px; }
.mlnb-card .figures { display: flex; flex-wrap: wrap; gap: 10px; margin: 12px 0 16px; }
.mlnb-card .figures div { border: 1px solid #e2e8f0; border-radius: 8px; padding: 7px 14px; }
.mlnb-card .figures b { display: block; font-size: 18px; } .mlnb-card .quiet { color: #64748b; }
.mlnb-card .missing { color: #92400e; background: #fffbeb; border-left: 3px solid #f59e0b; padding: 6px 10px; }
.mlnb-card .words { margin: 0 0 10px; } .mlnb-card .scroll { overflow-x: auto; margin: 0 0 12px; }
.mlnb-card table { border-collapse: collapse; font-size: 13px; background: #fff; margin: 0; }
.mlnb-card caption { text-align: left; font-weight: 600; padding: 4px 0; caption-side: top; color: #1f2937; }
.mlnb-card th, .mlnb-card td { text-align: left; padding: 3px 16px 3px 0; border: 0; vertical-align: top; }
.mlnb-card th { color: #64748b; font-weight: 500; } .mlnb-card tbody tr { background: #fff; }
.mlnb-card tbody tr { border-top: 1px solid #eef1f5; }
.mlnb-card td { overflow-wrap: break-word; }
.mlnb-card .right { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.mlnb-card pre { background: #f8fafc; border: 1px solid #e2e8f0; border-radius: 6px; padding: 8px 12px; }
.mlnb-card pre { overflow-x: auto; font: 12.5px/1.4 ui-monospace, Menlo, 'DejaVu Sans Mono', monospace; }
.mlnb-card nav { margin: 0 0 14px; } .mlnb-card nav a { margin-right: 14px; white-space: nowrap; }
.mlnb-card a { color: #2563eb; } .mlnb-card svg { display: block; margin: 0 0 10px; }
.mlnb-card .drawing { display: flex; flex-wrap: wrap; }
@media print { .mlnb-card section { break-inside: avoid-page; } .mlnb-card nav { display: none; } }
"""
_STYLE = _STYLE.replace(".mlnb-card", ".mlnb-card" * 3)  # outweighs what notebooks say of tables
_PAGE = """
:root { color-scheme: light; } body { margin: 0; background: #f4f6f9; }
.mlnb-card { margin: 0 auto; padding: 30px 36px 40px; border: 1px solid #e2e8f0; }
@media (max-width: 600px) { .mlnb-card { padding: 16px; } }
"""


def card_of(project: Project, ref: str) -> Card:
    """Return a version's card."""
    from mlnb.judging.judgement import judged
    from mlnb.registry import card

    version, audit = project.models.get(ref), project.audit
    return card.card_of(version, judged(version, audit), project.models, project.state.files, audit)


def answer_card(asked: Asked, card: Card, html: Path | None, head: bool) -> int:
    """Print a card, and write it as a page where that is asked for."""
    if html is not None:
        write_out(html, page(card))
        return asked.answer(card, lambda _: [f"The card of {card.ref} is in {html}."])
    text = markdown(card, metadata=head)
    return asked.answer({**card.to_json(), "markdown": text}, lambda told: [str(told["markdown"]).rstrip("\n")])


def markdown(card: Card, *, metadata: bool = False) -> str:
    """Return the card as Markdown; with `metadata`, under the head that the Hugging Face Hub reads."""
    lines = [*(_metadata(card) if metadata else ()), f"# Model card: {_text(card.ref)}", "", _text(card.lead), ""]
    if card.figures:
        lines += [" · ".join(f"**{_text(value)}** {_text(what)}" for value, what in card.figures), ""]
    for section in card.sections:
        if section.title:
            lines += [f"## {_text(section.title)}", ""]
        for block in section.blocks:
            lines += [*_markdown(block), ""]
    return "\n".join(lines).rstrip() + "\n"


def page(card: Card) -> str:
    """Return the card as one HTML page: no script, no file beside it, no network."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Model card: {escape(card.ref)}</title><style>{_STYLE}{_PAGE}</style></head><body>"
        f'<main class="mlnb-card">{_head(card)}{_contents(card)}'
        f"{''.join(_section(section, at) for at, section in enumerate(card.sections))}</main></body></html>\n"
    )


def show(card: Card) -> None:
    """Display the card in a notebook: text and tables as HTML, pictures by plotly where it is there."""
    from IPython.display import display

    held = [_head(card)]

    def flush() -> None:
        html = f'<style>{_STYLE}</style><div class="mlnb-card">{"".join(held)}</div>'
        display({"text/html": html, "text/plain": f"Model card: {card.ref}"}, raw=True)
        held.clear()

    for section in card.sections:
        held.append(f"<section>{_title(section)}")
        for block in section.blocks:
            if isinstance(block, Drawing):
                held.append("</section>")
                flush()
                show_drawing(block)
                held.append("<section style='border-top:0;padding-top:0'>")
            else:
                held.append(_html(block))
        held.append("</section>")
    flush()


def show_drawing(drawing: Drawing) -> None:
    """Display a picture: plotly's where a front end draws it, else the static one, which nbconvert keeps."""
    from IPython.display import display

    figure = {**drawing.figure, "config": {"displayModeBar": False, "responsive": True}}
    display({PLOTLY: figure, "text/html": f"<div>{drawing.svg}</div>", "text/plain": drawing.title}, raw=True)


def _metadata(card: Card) -> Iterator[str]:
    """Yield YAML; JSON's strings are YAML's, too."""
    yield "---"
    for key, value in card.metadata.items():
        if isinstance(value, str):
            yield f"{key}: {json.dumps(value)}"
        else:
            yield f"{key}:"
            yield from (f"- {json.dumps(one)}" for one in value)
    yield "---"
    yield ""


def _markdown(block: Block) -> Iterator[str]:
    match block:
        case Sentence(text, missing):
            yield f"_{_line(text)}_" if missing else _line(text)
        case Bullets(items):
            yield from (f"- {_line(item)}" for item in items)
        case Code(text):
            yield _fenced(text)
        case Table():
            yield from _markdown_table(block)
        case Drawing(title):
            yield f"_{_text(title)}: drawn in the HTML page and in a notebook._"
        case Written(words):
            yield _safe(words.markdown)


def _markdown_table(table: Table) -> Iterator[str]:
    if table.caption:
        yield f"**{_text(table.caption)}**"
        yield ""
    yield f"| {' | '.join(_text(head) for head in table.heads)} |"
    yield f"|{'|'.join('---:' if at in table.numbers else '---' for at in range(len(table.heads)))}|"
    yield from (f"| {' | '.join(_text(cell) for cell in row)} |" for row in table.rows)


def _safe(words: str) -> str:
    """Return a person's Markdown; HTML in it is escaped, and what has links of odd schemes is shown as typed."""
    if _harmless(words):
        return words
    escaped = words.replace("<", "&lt;")
    return escaped if _harmless(escaped) else _fenced(words)


def _fenced(text: str) -> str:
    """Return a block of code that no line of the text ends; an indented one would belong to a list above it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def _harmless(words: str) -> bool:
    """Say whether Markdown holds neither HTML nor a link or picture of an odd scheme."""
    reader = MarkdownIt("commonmark").enable("table")
    reader.validateLink = lambda url: True  # type: ignore[method-assign]  # so that every link is seen
    kept: dict[str, dict[str, dict[str, str]]] = {}
    tokens = [inner for token in reader.parse(words, kept) for inner in (token, *(token.children or ()))]
    links = [str(token.attrs.get("href") or token.attrs.get("src") or "") for token in tokens]
    links += [str(one.get("href", "")) for one in kept.get("references", {}).values()]
    odd = [link for link in links if ":" in link.split("/")[0] and not link.lower().startswith(_SCHEMES)]
    return not odd and not any(token.type in ("html_block", "html_inline") for token in tokens)


def _head(card: Card) -> str:
    figures = "".join(
        f'<div><b>{escape(value)}</b><span class="quiet">{escape(what)}</span></div>' for value, what in card.figures
    )
    return (
        f'<h1>{escape(card.ref)}</h1><p class="quiet">Model card</p><p>{escape(card.lead)}</p>'
        f'<div class="figures">{figures}</div>'
    )


def _contents(card: Card) -> str:
    links = "".join(
        f'<a href="#s{at}">{escape(section.title)}</a> ' for at, section in enumerate(card.sections) if section.title
    )
    return f"<nav>{links}</nav>"


def _section(section: Section, at: int) -> str:
    return f'<section id="s{at}">{_title(section)}{"".join(_html(block) for block in section.blocks)}</section>'


def _title(section: Section) -> str:
    return f"<h2>{escape(section.title)}</h2>" if section.title else ""


def _html(block: Block) -> str:
    match block:
        case Sentence(text, missing):
            return f'<p class="missing">{escape(text)}</p>' if missing else f"<p>{escape(text)}</p>"
        case Bullets(items):
            return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
        case Code(text):
            return f"<pre>{escape(text)}</pre>"
        case Table():
            return _html_table(block)
        case Drawing(title, svg):
            return f'<div class="drawing" title="{escape(title)}">{svg}</div>'
        case Written(words):
            reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
            return f'<div class="words">{reader.render(words.markdown)}</div>'


def _html_table(table: Table) -> str:
    def cells(row: tuple[str, ...], tag: str) -> str:
        right = dict.fromkeys(table.numbers, ' class="right"')
        return "".join(f"<{tag}{right.get(at, '')}>{_unbroken(escape(cell))}</{tag}>" for at, cell in enumerate(row))

    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in table.rows)
    head = f"<thead><tr>{cells(table.heads, 'th')}</tr></thead>"
    return f'<div class="scroll"><table>{caption}{head}<tbody>{body}</tbody></table></div>'


def _unbroken(cell: str) -> str:
    """Keep the ends of an interval on one line."""
    return _INTERVAL.sub(r"[\1,&#160;\2]", cell)


def _text(text: str) -> str:
    """Return a plain text that Markdown shows as it is."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _line(text: str) -> str:
    """Return a plain text that Markdown shows as it is at the beginning of a line, too."""
    shown = _text(text)
    number = re.match(r"\d+(?=[.)])", shown)
    at = number.end() if number else 0
    return f"{shown[:at]}\\{shown[at:]}" if number or shown[:1] in tuple("#>+=~-") else shown
