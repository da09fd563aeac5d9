"""Two printed texts become the first line in which a reader would see a difference, or nothing.

What changes at every run is made equal first: memory addresses, timings, progress bars, temporary paths, identifiers
that libraries draw by lot. Numbers may be apart by a relative tolerance; white space between words does not count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser

from mlnb.run.apart import close, number_change

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BAR = re.compile(r"\d+%\s?\|.*\||\|.*\| *\d+/\d+|\[\d+:\d+<|\d[\d.]* ?(?:it/s|s/it)|[━█▉▊▋▌▍▎▏]{3,}")
_UNIT = r"(?:ns|µs|μs|us|ms|s|secs?|seconds?|min|mins|minutes?|h|hours?)\b"
_VOLATILE = (
    (re.compile(r"0x[0-9a-fA-F]{6,}"), "0x…"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"^(CPU times|Wall time):.*$", re.MULTILINE), r"\1: <time>"),
    (re.compile(rf"[\d.]+ ?{_UNIT}.{{0,9}}±.*?per loop.*"), "<time> per loop"),
    (
        re.compile(
            rf"\b(took|taken|in|after|elapsed|time|duration|runtime|seconds|finished|done)"
            rf"(\W{{0,3}}) ?\d[\d.,]*(?:[eE][-+]?\d+)? ?{_UNIT}",
            re.IGNORECASE,
        ),
        r"\1\2 <time>",
    ),
    (re.compile(r"\b(elapsed|took|duration|runtime)(\W{1,3})\d[\d.]*(?:[eE][-+]?\d+)?", re.IGNORECASE), r"\1\2<time>"),
    (re.compile(r"<(?:ipython-input|mlnb-cell)-[^>]*>"), "<cell>"),
    (re.compile(r"(?:/private)?(?:/var/folders|/tmp)/[^\s'\"<>:]*"), "<temporary>"),
    (re.compile(r"\b(In|Cell In|Out) ?\[\d+\]"), r"\1[…]"),
    (re.compile(r"[-=─━═_]{3,}"), "---"),
)
_NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\w|\.\d)")
_BLOCKS = {
    "p",
    "div",
    "tr",
    "br",
    "li",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "pre",
    "table",
    "thead",
    "tbody",
    "caption",
}
_UNSEEN = {"style", "script", "head", "title"}
_SHOWN = 70


@dataclass(frozen=True, slots=True)
class TextDifference:
    """What was saved, what came now, and why they are not the same."""

    saved: str
    got: str
    why: str


def compare_texts(saved: str, got: str, tolerance: float) -> TextDifference | None:
    """Return the first difference between two texts, None where a reader would see none.

    Parameters
    ----------
    tolerance : float
        Relative difference up to which two numbers are equal.

    Examples
    --------
    >>> compare_texts("auc 0.81 <object at 0x7f3a5c1e8d60>", "auc  0.8100001 <object at 0x7f99deadbeef>", 1e-6)
    >>> compare_texts("auc 0.81", "auc 0.79", 1e-6).why
    '0.81 became 0.79 (-2.47 %)'
    """
    ours, theirs = _lines(saved), _lines(got)
    for before, after in zip(ours, theirs, strict=False):
        why = _line_difference(before, after, tolerance)
        if why:
            return TextDifference(_short(before), _short(after), why)
    if len(ours) == len(theirs):
        return None
    more, place = (ours, len(theirs)) if len(ours) > len(theirs) else (theirs, len(ours))
    line = _short(more[place])
    count = abs(len(ours) - len(theirs))
    lines = "a line" if count == 1 else f"{count} lines"
    if more is ours:
        return TextDifference(line, "", f"{lines} missing")
    return TextDifference("", line, f"{lines} more")


def sanitised(text: str) -> str:
    """Return a text without what changes at every run."""
    text = _COLOUR.sub("", text).replace("\r\n", "\n")
    kept = [line.rsplit("\r", 1)[-1] for line in (part.rstrip("\r") for part in text.split("\n"))]
    text = "\n".join(line.rstrip() for line in kept if not _BAR.search(line))
    for pattern, word in _VOLATILE:
        text = pattern.sub(word, text)
    return text.strip("\n")


def visible(html: str) -> str:
    """Return the text that a browser would show of some HTML or SVG: a line for each row or block."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    return "\n".join(line for line in lines if line)


class _Reader(HTMLParser):
    """Collects text; blocks end lines, cells end words."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in _UNSEEN
        self.parts.append("\n" if tag in _BLOCKS else " " if tag in {"td", "th", "text", "tspan"} else "")

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in _UNSEEN and self._unseen > 0
        self.parts.append("\n" if tag in _BLOCKS else "")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)


def _lines(text: str) -> list[str]:
    lines = [" ".join(line.split()) for line in sanitised(text).split("\n")]
    return [line for line in lines if line]


def _line_difference(before: str, after: str, tolerance: float) -> str:
    """Compare two lines, word by word between the numbers, number by number."""
    if before == after:
        return ""
    if _NUMBER.sub("0", before) != _NUMBER.sub("0", after):
        return "the text differs"
    for one, other in zip(_NUMBER.findall(before), _NUMBER.findall(after), strict=True):
        numbers = _value(one), _value(other)
        if not close(*numbers, tolerance):
            return number_change(*numbers, (one, other))
    return ""


def _value(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


def _short(line: str) -> str:
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
