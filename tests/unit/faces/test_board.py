"""Events become rows, and rows become text and HTML."""

from __future__ import annotations

import pytest

from mlnb.faces.board import Board, seconds_text
from mlnb.faces.html import board_html
from mlnb.run.events import CellStarted, RunFinished, RunStarted, StageFinished, StageStarted, event_json


def _board(*events):
    board = Board()
    ended = [board.take(event_json(event)) for event in events]
    return board, [row.name for row in ended if row]


def test_a_run_goes_from_queued_through_running_to_its_end():
    board, _ = _board(RunStarted("r", "nb.ipynb", ("prepare", "train", "evaluate")))
    assert [(row.name, row.state) for row in board.rows] == [
        ("prepare", "queued"),
        ("train", "queued"),
        ("evaluate", "queued"),
    ]
    board.take(event_json(StageFinished("r", "prepare", "cached", 0.5)))
    board.take(event_json(StageStarted("r", "train")))
    board.take(event_json(CellStarted("r", "train", 7, 1, 2)))
    assert [row.state for row in board.rows] == ["cached", "running", "queued"]
    assert board.rows[1].note == "cell 7 (1 of 2)"
    row = board.take(event_json(StageFinished("r", "train", "failed", 1.5, "Cell 7, line 2: KeyError")))
    assert (row.name, row.state, row.seconds, row.note) == ("train", "failed", 1.5, "Cell 7, line 2: KeyError")
    board.take(event_json(RunFinished("r", "failed", 2.0)))
    assert board.state == "failed" and board.title == "nb.ipynb"


def test_steps_of_a_deployment_are_rows_too():
    board = Board()
    board.take({"event": "ship", "model": "delays", "step": "gate", "state": "started", "detail": ""})
    assert [(row.name, row.state) for row in board.rows] == [("delays: gate", "running")]
    board.take({"event": "ship", "model": "delays", "step": "gate", "state": "done", "detail": "2 of 2 gates passed"})
    assert [(row.state, row.note) for row in board.rows] == [("done", "2 of 2 gates passed")]


def test_an_event_of_a_newer_kind_is_passed_over():
    board, _ = _board(RunStarted("r", "nb.ipynb", ("train",)))
    assert board.take({"event": "telemetry", "stage": "train"}) is None
    assert [row.state for row in board.rows] == ["queued"]


def test_what_code_has_said_cannot_become_markup():
    board, _ = _board(RunStarted("r", "nb.ipynb", ("train",)), StageFinished("r", "train", "failed", 1, "<img src=x>"))
    assert "<img" not in board_html(board) and "&lt;img src=x&gt;" in board_html(board)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (12.3, "12 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (3725, "62 min 5 s")],
)
def test_durations_are_said_as_people_say_them(seconds, text):
    assert seconds_text(seconds) == text
