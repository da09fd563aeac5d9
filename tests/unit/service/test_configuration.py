"""A table and the environment become one configuration, or one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlnb.errors import SettingsError
from mlnb.service.configuration import configure, read_configuration


def test_the_environment_wins_over_the_table() -> None:
    found = configure({"max_rows": 5, "body_s": 2}, {"MLNB_MAX_ROWS": "7"})

    assert (found.max_rows, found.body_s, found.max_body_bytes) == (7, 2.0, 32 * 1024 * 1024)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"max_row": 5}, "Did you mean 'max_rows'?"),
        ({"max_rows": 2.5}, "not of type int"),
        ({"max_rows": True}, "not of type int"),
        ({"max_rows": "many"}, "not of type int"),
        ({"max_rows": [1]}, "not of type int"),
    ],
)
def test_what_it_does_not_know_is_named(table: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match="max_row") as raised:
        configure(table, {})

    assert words in str(raised.value)


def test_the_process_reads_what_the_target_wrote(tmp_path: Path) -> None:
    assert read_configuration(tmp_path, {}) == configure({}, {})
    (tmp_path / "service.json").write_text(json.dumps({"format": 1, "settings": {"max_rows": 3}}))
    assert read_configuration(tmp_path, {}).max_rows == 3
    (tmp_path / "service.json").write_text("{")
    with pytest.raises(SettingsError, match="Start the service again"):
        read_configuration(tmp_path, {})
