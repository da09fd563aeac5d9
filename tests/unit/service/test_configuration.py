"""A table and the environment become one configuration, or one sentence."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from mlnb.errors import SettingsError
from mlnb.service.configuration import Configuration, configure, read_configuration


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


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("workers", -1, "from 0 to 512"),
        ("max_rows", 0, "from 1 to"),
        ("body_s", 0, "from 0.01 to"),
        ("drain_s", float("inf"), "from 0 to 2e+06"),
        ("header_s", "nan", "from 0.01 to"),
        ("wait_s", -0.1, "from 0.001 to"),
        ("log_sample", 1.5, "from 0 to 1"),
        ("idle_s", float("inf"), "of type int"),
        ("queue", float("nan"), "of type int"),
        ("public", "docs metric", "one of metrics, docs"),
    ],
)
def test_what_no_service_can_do_is_refused_with_what_it_can(key: str, value: object, words: str) -> None:
    for table, environ in (({key: value}, {}), ({}, {f"MLNB_{key.upper()}": str(value)})):
        with pytest.raises(SettingsError, match=f"(?i){key}") as raised:
            configure(table, environ)
        assert words in str(raised.value)


def test_what_is_set_where_nothing_is_set_is_within_its_range() -> None:
    defaults = asdict(Configuration())

    assert configure(defaults, {}) == Configuration()
    assert configure({"public": "docs metrics", "workers": 0, "queue": 0, "grpc_age_s": 0}, {}).workers == 0


def test_the_process_reads_what_the_target_wrote(tmp_path: Path) -> None:
    assert read_configuration(tmp_path, {}) == configure({}, {})
    (tmp_path / "service.json").write_text(json.dumps({"format": 1, "settings": {"max_rows": 3}}))
    assert read_configuration(tmp_path, {}).max_rows == 3
    (tmp_path / "service.json").write_text("{")
    with pytest.raises(SettingsError, match="Start the service again"):
        read_configuration(tmp_path, {})
