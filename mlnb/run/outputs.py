"""Saved and new outputs of a cell become the differences that a reader of the notebook would mind.

Compared are what was printed (all of it as one text), each display by the richest kinds that both have (a table by its
HTML alone), and an exception by its class and text. Not compared: stderr (warnings, progress bars), widgets (their ids
are drawn by lot), scripts, and what mlnb itself shows.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlnb.run.apart import close, number_change
from mlnb.run.pixels import share_apart, size_of
from mlnb.run.texts import TextDifference, compare_texts, visible

Json = Mapping[str, object]

PIXELS = 0.001
"""Share of an image's pixels that may differ: the edges of letters on another machine."""
_TEXTS = ("text/plain", "text/markdown", "text/latex")
_PLOTLY = "application/vnd.plotly.v1+json"
_OURS = ('class="mlnb-',)
_SHOWN = 70


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """One output that is not as it was saved.

    Attributes
    ----------
    output : int
        1-based place among the cell's outputs; all printed text counts as one.
    kind : str
        ``printed text``, ``exception``, or a MIME type.
    saved, got : str
        Excerpts: the line, the number or a description; empty where there is none.
    why : str
        A clause, such as ``0.81 became 0.79 (-2.47 %)``.
    """

    output: int
    kind: str
    saved: str
    got: str
    why: str


@dataclass(frozen=True, slots=True)
class _Output:
    """One output as it is compared: its kind and, for a display, its MIME bundle."""

    kind: str
    text: str = ""
    bundle: Json | None = None


def compare_outputs(saved: Sequence[Json], got: Sequence[Json], tolerance: float) -> tuple[OutputDifference, ...]:
    """Return what differs between the outputs of a cell, in their order.

    Parameters
    ----------
    saved, got : sequence of mapping
        As nbformat 4 has them.
    tolerance : float
        Relative difference up to which two numbers are equal.
    """
    ours, theirs = _outputs(saved), _outputs(got)
    found = []
    for at in range(max(len(ours), len(theirs))):
        before = ours[at] if at < len(ours) else None
        after = theirs[at] if at < len(theirs) else None
        if before is None or after is None or before.kind != after.kind:
            saved_as, now = _described(before), _described(after)
            found.append(OutputDifference(at + 1, _kind(before or after), saved_as, now, "the kinds of output differ"))
            break  # what follows is out of step
        found.extend(_compare(at + 1, before, after, tolerance))
    return tuple(found)


def _outputs(outputs: Sequence[Json]) -> list[_Output]:
    printed: list[str] = []
    others: list[_Output] = []
    for output in outputs:
        kind = output.get("output_type")
        if kind == "stream":
            printed.append(_joined(output.get("text")) if output.get("name", "stdout") == "stdout" else "")
        elif kind == "error":
            others.append(_Output("exception", f"{output.get('ename', '')}: {output.get('evalue', '')}"))
        else:
            data = output.get("data")
            bundle = {str(mime): content for mime, content in data.items()} if isinstance(data, dict) else {}
            if not _unseen(bundle):
                others.append(_Output("display", bundle=bundle))
    text = "".join(printed)
    return [*([_Output("printed text", text)] if text.strip() else []), *others]


def _unseen(bundle: Json) -> bool:
    html = _joined(bundle.get("text/html"))
    widget = any("widget-view" in mime for mime in bundle)
    scripts = bool(bundle) and set(bundle) <= {"application/javascript", "application/vnd.jupyter.es6-rich-output"}
    return widget or scripts or any(mark in html for mark in _OURS)


def _compare(place: int, before: _Output, after: _Output, tolerance: float) -> list[OutputDifference]:
    if before.bundle is None or after.bundle is None:
        found = compare_texts(before.text, after.text, tolerance)
        return [_told(place, before.kind, found)] if found else []
    shared = [mime for mime in before.bundle if mime in after.bundle and not _spare(mime, before.bundle, after.bundle)]
    if not shared:
        return [OutputDifference(place, "display", _described(before), _described(after), "the kinds of output differ")]
    for mime in sorted(shared, key=lambda mime: mime not in _TEXTS):
        difference = _compare_content(mime, before.bundle[mime], after.bundle[mime], tolerance)
        if difference:
            return [_told(place, mime, difference)]  # one reason is enough: the same thing in another form
    return []


def _spare(mime: str, before: Json, after: Json) -> bool:
    """Say whether a kind is but a table's plain text beside the table, which breaks where a terminal's line would."""
    return mime == "text/plain" and all("<table" in _joined(each.get("text/html")) for each in (before, after))


def _compare_content(mime: str, before: object, after: object, tolerance: float) -> TextDifference | None:
    if mime in _TEXTS:
        return compare_texts(_joined(before), _joined(after), tolerance)
    if mime in ("text/html", "image/svg+xml"):
        return compare_texts(visible(_joined(before)), visible(_joined(after)), tolerance)
    if mime == "image/png":
        return _compare_png(_joined(before), _joined(after))
    if mime == _PLOTLY:
        return _compare_json(_without_layout(before), _without_layout(after), tolerance)
    if mime == "application/json" or mime.endswith("+json"):
        return _compare_json(before, after, tolerance)
    return None


def _compare_png(before: str, after: str) -> TextDifference | None:
    if "".join(before.split()) == "".join(after.split()):
        return None
    try:
        ours, theirs = base64.b64decode(before), base64.b64decode(after)
        sizes = [f"{width} x {height} pixels" for width, height in map(size_of, (ours, theirs))]
        if sizes[0] != sizes[1]:
            return TextDifference(sizes[0], sizes[1], "the image has another size")
        share = share_apart(ours, theirs)
    except (ValueError, binascii.Error) as error:
        return TextDifference("a PNG image", "a PNG image", f"one cannot be read: {error}")
    if share <= PIXELS:
        return None
    return TextDifference("a PNG image", "a PNG image", f"{share:.2%} of its pixels differ")


def _compare_json(before: object, after: object, tolerance: float) -> TextDifference | None:
    found = _first_apart(before, after, tolerance, "")
    if found is None:
        return None
    place, ours, theirs, why = found
    return TextDifference(_brief(ours), _brief(theirs), f"at {place or 'its top'}, {why}")


_Found = tuple[str, object, object, str]


def _first_apart(before: object, after: object, tolerance: float, place: str) -> _Found | None:
    """Return the first place where two JSON values differ, both values there, and why."""
    if isinstance(before, dict) and isinstance(after, dict):
        if _arrays(before, after):
            return _first_apart(_numbers_of(before), _numbers_of(after), tolerance, place)
        for key in dict.fromkeys([*before, *after]):
            if key == "uid":
                continue
            if (key in before) != (key in after):
                return f"{place}.{key}", before.get(key), after.get(key), "one has it and the other has not"
            found = _first_apart(before[key], after[key], tolerance, f"{place}.{key}")
            if found:
                return found
        return None
    if isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            return place, before, after, f"{len(before)} items became {len(after)}"
        steps = (
            _first_apart(a, b, tolerance, f"{place}[{n}]") for n, (a, b) in enumerate(zip(before, after, strict=True))
        )
        return next((step for step in steps if step), None)
    if _is_number(before) and _is_number(after):
        ours, theirs = float(before), float(after)  # type: ignore[arg-type]
        return None if close(ours, theirs, tolerance) else (place, before, after, number_change(ours, theirs))
    if isinstance(before, str) and isinstance(after, str):
        text = compare_texts(before, after, tolerance)
        return (place, before, after, text.why) if text else None
    return None if before == after else (place, before, after, "the values differ")


def _without_layout(figure: object) -> object:
    """Return a plotly figure's data and titles: its template is the library's."""
    if not isinstance(figure, dict):
        return figure
    layout = figure.get("layout")
    kept = {key: value for key, value in layout.items() if key != "template"} if isinstance(layout, dict) else {}
    return {"data": figure.get("data"), "layout": kept}


def _arrays(*values: Mapping[str, object]) -> bool:
    return all(isinstance(value.get("bdata"), str) and isinstance(value.get("dtype"), str) for value in values)


def _numbers_of(array: Mapping[str, object]) -> object:
    """Return the numbers of plotly's binary array ``{"dtype": "f8", "bdata": base64}``."""
    import numpy

    try:
        return numpy.frombuffer(base64.b64decode(str(array["bdata"])), numpy.dtype(f"<{array['dtype']}")).tolist()
    except (ValueError, TypeError):
        return array["bdata"]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _told(place: int, kind: str, found: TextDifference) -> OutputDifference:
    return OutputDifference(place, kind, found.saved, found.got, found.why)


def _kind(output: _Output | None) -> str:
    return output.kind if output else ""


def _described(output: _Output | None) -> str:
    if output is None:
        return ""
    if output.bundle is None:
        return _brief(output.text.strip().splitlines()[0])
    plain = _joined(output.bundle.get("text/plain")).strip()
    return _brief(plain.splitlines()[0]) if plain else f"a display ({', '.join(output.bundle)})"


def _brief(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _joined(text: object) -> str:
    return "".join(map(str, text)) if isinstance(text, list) else text if isinstance(text, str) else ""
