"""Saved outputs beside new ones: what a reader would mind is told, what changes at every run is not."""

from __future__ import annotations

import base64
import doctest
import struct
import zlib

import numpy as np
import pytest

import mlnb.run.texts
from mlnb.run.outputs import compare_outputs
from mlnb.run.pixels import read_png, share_apart
from mlnb.run.texts import compare_texts, visible

SAME = [
    ("<Model at 0x7f3a5c1e8d60>", "<Model at 0x7fffdeadbeef>"),
    ("CPU times: user 3 ms, sys: 1 ms\nWall time: 4.1 ms", "CPU times: user 9 s, sys: 2 s\nWall time: 11 s"),
    ("1.2 ms ± 30 µs per loop (mean ± std. dev. of 7 runs)", "900 ns ± 3 ns per loop (mean ± std. dev. of 7 runs)"),
    ("fitted in 3.2 s", "fitted in 11.04 seconds"),
    ("elapsed: 0.123", "elapsed: 9.5"),
    (" 10%|█   | 1/10 [00:00<00:09, 1.0it/s]\rdone\n", "done\n"),
    ("\x1b[31mred\x1b[0m", "red"),
    ("wrote /tmp/tmpab12/x.csv", "wrote /tmp/tmpzz99/x.csv"),
    ("id 3f2504e0-4f89-11d3-9a0c-0305e82c3301", "id 7d444840-9dc0-11d1-b245-5ffdce74fad2"),
    ("a     1.5\nb    10.5", "a  1.5\nb 10.5"),
    ("auc 0.8100000001", "auc 0.81"),
    ("1,234 rows", "1234 rows"),
    ("------\nx", "----------\nx"),
    ("nan inf -0.0", "nan inf 0.0"),
]
DIFFERENT = [
    ("auc 0.81", "auc 0.79", "0.81 became 0.79 (-2.47 %)"),
    ("rows: 1,234", "rows: 1,235", "1,234 became 1,235 (+0.081 %)"),
    ("version 1.2.3", "version 1.2.4", "the text differs"),
    ("x1 = 3", "x2 = 3", "the text differs"),
    ("one\ntwo", "one", "a line missing"),
    ("one", "one\ntwo\nthree", "2 lines more"),
    ("1e-3", "2e-3", "1e-3 became 2e-3 (+100 %)"),
    ("mean delay 12 min", "mean delay 13 min", "12 became 13 (+8.33 %)"),
    ("True", "False", "the text differs"),
]


def _display(**data: object) -> dict[str, object]:
    return {"output_type": "display_data", "data": {key.replace("_", "/"): value for key, value in data.items()}}


def _printed(text: str, name: str = "stdout") -> dict[str, object]:
    return {"output_type": "stream", "name": name, "text": text.splitlines(keepends=True)}


def _png(pixels: np.ndarray, kinds: str = "0") -> bytes:
    """Write a PNG with the given filters, from the specification's definitions and nothing of ours."""
    height, width, channels = pixels.shape
    rows = []
    for y in range(height):
        kind = int(kinds[y % len(kinds)])
        row = bytearray()
        for x in range(width):
            for c in range(channels):
                a = int(pixels[y, x - 1, c]) if x else 0
                b = int(pixels[y - 1, x, c]) if y else 0
                corner = int(pixels[y - 1, x - 1, c]) if x and y else 0
                p = a + b - corner
                paeth = min((a, b, corner), key=lambda v: (abs(p - v), (a, b, corner).index(v)))
                row.append((int(pixels[y, x, c]) - (0, a, b, (a + b) // 2, paeth)[kind]) % 256)
        rows.append(bytes([kind]) + bytes(row))

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"".join(rows)))
        + chunk(b"IEND", b"")
    )


def _image(pixels: np.ndarray) -> dict[str, object]:
    return _display(image_png=base64.b64encode(_png(pixels)).decode())


def test_the_examples_of_the_module_hold():
    assert doctest.testmod(mlnb.run.texts).failed == 0


@pytest.mark.parametrize(("saved", "got"), SAME)
def test_what_changes_at_every_run_is_not_minded(saved, got):
    assert compare_texts(saved, got, 1e-6) is None
    assert compare_texts(got, saved, 1e-6) is None


@pytest.mark.parametrize(("saved", "got", "why"), DIFFERENT)
def test_what_a_reader_would_mind_is_told_with_the_reason(saved, got, why):
    found = compare_texts(saved, got, 1e-6)
    assert found is not None and found.why == why
    assert compare_texts(saved, saved, 0) is None


def test_the_tolerance_is_relative():
    assert compare_texts("1000", "1009", 0.01) is None
    assert compare_texts("1000", "1011", 0.01) is not None
    assert compare_texts("0.001000", "0.001009", 0.01) is None


def test_of_a_page_only_what_is_seen_counts():
    html = "<style>.a{color:red}</style><table id='T_ab12'><tr><td>1</td><td>2</td></tr><tr><td>x</td></tr></table>"
    assert visible(html) == "1 2\nx"
    same = html.replace("T_ab12", "T_ff00").replace("red", "blue")
    assert compare_outputs([_display(text_html=html)], [_display(text_html=same)], 1e-6) == ()
    other = html.replace("<td>2</td>", "<td>3</td>")
    (found,) = compare_outputs([_display(text_html=html)], [_display(text_html=other)], 1e-6)
    assert (found.kind, found.why) == ("text/html", "2 became 3 (+50 %)")


def test_printed_text_is_one_output_and_stderr_none():
    saved = [_printed("a\n"), _printed("b 1\n"), _printed("Warning: old\n", "stderr")]
    assert compare_outputs(saved, [_printed("a\nb 1\n")], 1e-6) == ()
    (found,) = compare_outputs(saved, [_printed("a\nb 2\n")], 1e-6)
    assert (found.output, found.kind, found.saved, found.got) == (1, "printed text", "b 1", "b 2")


def test_a_tables_plain_text_may_break_elsewhere_but_its_cells_count():
    one = _display(text_html="<table><tr><td>0.81</td></tr></table>", text_plain="a \\\n0.81")
    other = _display(text_html="<table><tr><td>0.81</td></tr></table>", text_plain="a ... b\n0.81")
    assert compare_outputs([one], [other], 0.0) == ()
    changed = _display(text_html="<table><tr><td>0.79</td></tr></table>", text_plain="a \\\n0.81")
    (found,) = compare_outputs([one], [changed], 0.0)
    assert (found.kind, found.why) == ("text/html", "0.81 became 0.79 (-2.47 %)")


def test_an_output_that_is_missing_or_of_another_kind_is_told():
    (found,) = compare_outputs([_printed("a\n"), _display(text_plain="3")], [_printed("a\n")], 1e-6)
    assert (found.output, found.saved, found.got) == (2, "3", "")
    (found,) = compare_outputs([_display(text_plain="3")], [{"output_type": "error", "ename": "E", "evalue": "x"}], 0)
    assert found.why == "the kinds of output differ" and found.got == "E: x"


def test_widgets_scripts_and_what_mlnb_shows_are_not_compared():
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "IntSlider()"}
    ours = _display(text_html='<div class="mlnb-hint">train is stale</div>')
    outputs = [{"output_type": "display_data", "data": widget}, ours]
    assert compare_outputs(outputs, [], 0) == ()


def test_a_plot_is_compared_by_its_data():
    def figure(y: float, uid: str, packed: bool) -> dict[str, object]:
        values: object = [1.0, y]
        if packed:
            values = {"dtype": "f8", "bdata": base64.b64encode(np.array([1.0, y]).tobytes()).decode()}
        layout = {"template": {"n": uid}, "title": {"text": "t"}}
        content = {"data": [{"type": "bar", "uid": uid, "y": values}], "layout": layout}
        return {"output_type": "display_data", "data": {"application/vnd.plotly.v1+json": content}}

    for packed in (False, True):
        assert compare_outputs([figure(2.0, "a", packed)], [figure(2.0 + 1e-9, "b", packed)], 1e-6) == ()
        (found,) = compare_outputs([figure(2.0, "a", packed)], [figure(3.0, "b", packed)], 1e-6)
        assert found.why == "at .data[0].y[1], 2.0 became 3.0 (+50 %)"


@pytest.mark.parametrize("kinds", ["0", "1", "2", "3", "4", "01234"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_is_read_as_it_was_written(kinds, channels):
    pixels = np.random.default_rng(int(kinds) + channels).integers(0, 256, (9, 7, channels), dtype=np.uint8)
    assert (read_png(_png(pixels, kinds)) == pixels).all()


def test_a_picture_may_differ_in_what_nobody_sees():
    pixels = np.full((50, 50, 3), 200, np.uint8)
    faint, spot = pixels.copy(), pixels.copy()
    faint += 5
    spot[10:20, 10:20] = 0
    assert compare_outputs([_image(pixels)], [_image(faint)], 1e-6) == ()
    (found,) = compare_outputs([_image(pixels)], [_image(spot)], 1e-6)
    assert found.why == "4.00% of its pixels differ"
    assert share_apart(_png(pixels), _png(spot)) == 0.04
    (found,) = compare_outputs([_image(pixels)], [_image(pixels[:40])], 1e-6)
    assert (found.saved, found.got) == ("50 x 50 pixels", "50 x 40 pixels")
    broken = _display(image_png=base64.b64encode(_png(pixels)[:60]).decode())
    (found,) = compare_outputs([_image(pixels)], [broken], 1e-6)
    assert "cannot be read" in found.why
