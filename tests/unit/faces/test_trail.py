"""What a kernel has executed: stale, out of order, gone. Each script is a list of cells as a person runs them."""

from __future__ import annotations

import pytest

from mlnb.faces.trail import Trail
from mlnb.notebook.document import Cell, Document

LOAD, CLEAN, FIT = "rows = [1, 2]", "good = rows[:1]", "model = sum(good)"


def _trail(*cells: tuple[str, str]) -> Trail:
    """Run cells: the key (an id) and the text of each; a key that is a word is a stage's name as well."""
    trail = Trail()
    for count, (key, source) in enumerate(cells, 1):
        trail.add(key, source, count, key)
    return trail


def _document(tmp_path, *cells: tuple[str, str]) -> Document:
    made = tuple(Cell(number, key, "code", source) for number, (key, source) in enumerate(cells, 1))
    return Document(tmp_path / "nb.ipynb", "", "python3", "python", made)


@pytest.mark.parametrize(
    ("again", "stale"),
    [
        (("load", LOAD), []),  # the same cell with the same inputs gives the same
        (("load", "# a comment\nrows = [1, 2]"), []),
        (("load", "rows = [3]"), ["clean", "fit"]),
        (("clean", "good = rows[:2]"), ["fit"]),
        (("fit", "model = max(good)"), []),
        (("other", "rows.append(9)"), []),  # another giver of a name changes nothing that was read before
    ],
)
def test_what_follows_from_a_changed_cell_is_stale(again, stale):
    trail = _trail(("load", LOAD), ("clean", CLEAN), ("fit", FIT))
    assert list(trail.add(again[0], again[1], 4, again[0])) == stale


def test_what_is_stale_is_told_once_and_is_fresh_when_it_has_run_again():
    trail = _trail(("load", LOAD), ("clean", CLEAN), ("fit", FIT))
    assert trail.add("load", "rows = [3]", 4, "load") == ("clean", "fit")
    assert trail.add("load", "rows = [4]", 5, "load") == ()
    assert trail.add("clean", CLEAN, 6, "clean") == ()
    assert set(trail.stale()) == {"fit"}
    trail.add("fit", FIT, 7, "fit")
    assert trail.stale() == {}


def test_a_changed_function_makes_stale_whoever_calls_it():
    trail = _trail(("", "def scale(x):\n    return x * factor"), ("k", "factor = 2"), ("use", "y = scale(3)"))
    assert trail.add("k", "factor = 3", 4) == ("use",)
    trail = _trail(("", "def scale(x):\n    return x"), ("use", "y = scale(3)"))
    assert trail.add("", "def scale(x):\n    return -x", 3) == ("use",)


def test_a_change_in_place_may_be_repeated_but_not_a_new_binding():
    trail = _trail(("a", "d = {}"), ("b", "d['x'] = 1"), ("c", "y = d['x']"))
    assert trail.add("b", "d['x'] = 1", 4, "b") == ()
    trail = _trail(("a", "n = 1"), ("b", "n += 1"), ("c", "y = n"))
    assert trail.add("b", "n += 1", 4, "b") == ("c",)


def test_cells_that_are_no_python_disturb_nothing():
    trail = _trail(("a", "%%bash\necho 1"), ("b", "x = = 2"), ("c", "!ls"), ("d", "%%stage train --nonsense\ny = 1"))
    assert trail.stale() == {} and len(trail.cells) == 4


def test_the_doubts_name_what_a_clean_run_will_not_share(tmp_path):
    trail = _trail(("load", LOAD), ("gone", "extra = 5"), ("fit", "%%stage fit\nmodel = sum(rows) + extra + late"))
    trail.add("late", "late = 3", 4)
    trail.add("fit", "%%stage fit\nmodel = sum(rows) + extra + late", 5, "fit")
    trail.add("load", "rows = [7]", 6, "load")
    file = _document(
        tmp_path, ("load", LOAD), ("fit", "%%stage fit\n# same\nmodel = sum(rows) + extra + late"), ("late", "late = 3")
    )
    assert [doubt.problem for doubt in trail.doubts(file)] == [
        "[2] extra = 5 was executed and is no longer in the file; it gave extra.",
        "Cell 2 (fit) is stale: it used `rows` from before [6].",
        "Cell 2 (fit) used `late` from cell 3, which stands below it in the file.",
        "Cell 1 is not what ran as [6]: it was edited since, or is not saved.",
    ]


def test_a_kernel_that_ran_the_file_from_top_to_bottom_has_no_doubts(tmp_path):
    cells = (("load", LOAD), ("clean", CLEAN), ("fit", FIT))
    assert list(_trail(*cells).doubts(_document(tmp_path, *cells))) == []
