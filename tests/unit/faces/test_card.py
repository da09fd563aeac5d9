"""What a card looks like: nothing in it runs, and a browser needs nothing else to show it."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import yaml
from markdown_it import MarkdownIt

from mlnb.faces.card import markdown, page
from mlnb.model.card import Bullets, Card, Code, Section, Sentence, Table, Written
from mlnb.model.card_words import Words

EVIL = "<script>alert(1)</script> [x](javascript:alert(2)) ![y](http://evil/z.png) `a|b` <img src=x onerror=alert(3)>"
ODD = "# a | b * c _d_ **e** &lt; 1. x"


class Tags(HTMLParser):
    """Every tag, its attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def card(*words: str, text: str = EVIL) -> Card:
    blocks = (Sentence(text), Bullets((text,)), Code(text), Table((text, "b"), ((text, "1"),), text, (1,)))
    written = tuple(Written(Words("intended_use", "Uses", one)) for one in words)
    section = Section("intended_use", text, (*written, *blocks))
    return Card("delays/1", text, (("1", text),), (section,), {"license": "mit", "tags": ("a: b", "x")}, {})


def parsed(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    return tags


def test_nothing_in_a_page_runs_or_reaches_out() -> None:
    found = parsed(page(card(EVIL)))
    assert not found.tags & {"script", "img", "iframe", "object", "embed", "form", "base", "link"}
    assert not [name for name in found.attributes if name.startswith("on")]
    assert all(link.startswith(("#", "http://evil")) for link in found.attributes["href"])
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in found.attributes["content"]
    assert found.text.count("<script>alert(1)</script>") == 11


def test_a_persons_markdown_keeps_its_form_in_a_page() -> None:
    found = parsed(page(card("For **planners**.\n\n| who | why |\n|---|---|\n| a | b |", text="x")))
    assert {"strong", "td"} <= found.tags
    assert "For planners." in found.text


def test_markdown_holds_no_html_and_no_odd_link() -> None:
    for words in (EVIL, "<b>bold</b>", "[x][1]\n\n[1]: javascript:alert(1)", "[x](java&#115;cript:alert(1))"):
        text = markdown(card(words))
        tokens = [
            inner for token in MarkdownIt("commonmark").enable("table").parse(text) for inner in (token, *(token.children or ()))
        ]  # fmt: skip
        assert not [one for one in tokens if one.type.startswith("html")]
        links = [str(one.attrs.get("href", "")) for one in tokens]
        assert not [link for link in links if link.lower().startswith(("javascript", "data"))]


def test_harmless_words_are_given_back_as_they_were_written() -> None:
    words = "For `a < b`, see [x](https://example.org).\n\n1. *one*\n2. two"
    assert words in markdown(card(words))
    assert "For &lt;b>all&lt;/b>." in markdown(card("For <b>all</b>."))


def test_facts_read_the_same_after_markdown_was_rendered() -> None:
    html = MarkdownIt("commonmark").enable("table").render(markdown(card(text=ODD)))
    found = parsed(html)
    assert found.text.count(ODD) >= 7
    assert not found.tags & {"em", "blockquote"}
    assert found.attributes == {"style": {"text-align:right"}}


def test_the_head_for_the_hub_is_yaml() -> None:
    text = markdown(card(text="x"), metadata=True)
    assert yaml.safe_load(text.split("---\n")[1]) == {"license": "mit", "tags": ["a: b", "x"]}
    assert not markdown(card(text="x")).startswith("---")


def test_a_version_without_card_json_has_a_card_that_says_what_is_missing(mlnb, registered) -> None:
    told = mlnb("models", "card", "delays/2", "--json").json()
    keys = [section["key"] for section in told["sections"]]
    assert keys[:4] == ["model_details", "intended_use", "metrics", "evaluation_data"]
    (asked,) = [one for one in told["sections"][1]["blocks"] if one["kind"] == "sentence"]
    assert asked["missing"] and "## Intended use" in asked["text"] and "nb.ipynb" in asked["text"]
    assert told["facts"]["importance"] is None
    assert "was not measured" in mlnb("models", "card", "delays/2").out


def test_a_page_is_written_where_it_is_asked_for(mlnb, registered, tmp_path) -> None:
    assert mlnb("models", "card", "delays@production", "--html", "card.html").out == (
        "The card of delays/2 is in card.html.\n"
    )
    assert "<h1>delays/2</h1>" in (tmp_path / "card.html").read_text()
    refused = mlnb("models", "card", "delays/2", "--html", "no/such/folder.html")
    assert refused.code == 2 and "cannot be written" in refused.err


def test_a_row_is_explained_by_shares_that_add_up(mlnb, registered, tmp_path) -> None:
    told = mlnb("models", "explain", "delays/2", "--row", "3", "--json").json()
    assert (told["method"], told["columns"], told["shown"]) == ("exact", ["distance", "carrier"], "True")
    shares = sum(value[0] for value in told["values"][0])
    assert abs(told["base"][0][0] + shares - told["answers"][0][0]) < 1e-9
    (tmp_path / "row.json").write_text(json.dumps({"rows": [{"distance": 800.0, "carrier": "UA"}]}))
    text = mlnb("models", "explain", "delays/2", "--row", "row.json").out
    assert "row 0 of row.json" in text and "exact" in text
    ranked = mlnb("models", "explain", "delays/2").out
    assert "delays/2, probability of True: " in ranked and "mean absolute SHAP value" in ranked
    assert "100 rows" not in ranked and "80 rows against 25 background rows" in ranked


def test_what_cannot_be_explained_is_refused(mlnb, registered, tmp_path) -> None:
    (tmp_path / "bad.json").write_text("{")
    for words, said in (
        (["--row", "800"], "counted from 0 to 79"),
        (["--row", "bad.json"], "is not JSON"),
        (["--row", "none.json"], "cannot be read"),
        (["--output", "maybe"], "does not answer 'maybe'"),
        (["--budget", "10"], "too small"),
    ):
        refused = mlnb("models", "explain", "delays/2", *words)
        assert refused.code == 2 and said in refused.err, refused.err


def test_a_notebook_shows_card_and_explanation_with_figures_that_have_a_static_fallback(new_kernel, registered) -> None:
    kernel = new_kernel()
    assert kernel.run("%load_ext mlnb").status == "ok"
    (card,) = kernel.run("%mlnb models card delays/2").data
    assert "<h1>delays/2</h1>" in card["text/html"] and "<script" not in card["text/html"]
    drawn = kernel.run("%mlnb models explain delays/2").data
    figures = [one for one in drawn if "application/vnd.plotly.v1+json" in one]
    assert len(figures) == 2 and all("<svg" in one["text/html"] for one in figures)
    assert kernel.run("%mlnb models card delays/2 --markdown").text.startswith("---\n")
    for words, said in (
        ("list", "delays/3"),
        ("search 'auc >= 0.7' --best auc", "delays/2"),
        ("lineage delays/2", "Lineage of delays/2"),
        ("at delays@production today", "delays@production on"),
        ("compare delays/1 delays/2", "The two versions"),
    ):
        (shown,) = kernel.run(f"%mlnb models {words}").data
        assert said in shown["text/html"] and "<script" not in shown["text/html"] and shown["text/plain"]
