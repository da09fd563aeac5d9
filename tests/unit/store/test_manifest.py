from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.errors import CorruptError, NewerFormatError, StorageError
from mlnb.store.manifest import Fields, read_json, timestamp, write_json

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(mapping=st.dictionaries(st.text().filter(lambda key: key != "format"), PLAIN, max_size=5))
def test_a_manifest_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, mapping: dict[str, object]
) -> None:
    path = tmp_path_factory.mktemp("manifest") / "m.json"
    write_json(path, {"format": 1, **mapping})
    assert read_json(path).mapping == {"format": 1, **mapping}


def test_a_manifest_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"format": 2})
    with pytest.raises(NewerFormatError, match="has format 2, this mlnb knows 1 at the most") as caught:
        read_json(tmp_path / "m.json", 1)
    assert (caught.value.found, caught.value.known) == (2, 1)
    assert read_json(tmp_path / "m.json", 2).integer("format") == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"format": "1"}', b"\xff\xfe", b'{"format": 1'])
def test_a_damaged_manifest_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.json").write_bytes(content)
    with pytest.raises(CorruptError, match=r"m\.json is damaged"):
        read_json(tmp_path / "m.json")


def test_a_folder_in_a_manifests_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        read_json(tmp_path)


def test_fields_have_the_type_that_is_asked_for() -> None:
    fields = Fields("m.json", {"text": "a", "whole": 1, "true": True, "rows": [{"x": 1.5}], "names": ["a"], "o": {}})
    assert fields.text("text") == "a"
    assert fields.integer("whole") == 1
    assert fields.truth("true") is True
    assert fields.many("rows")[0].number("x") == 1.5
    assert fields.texts("names") == ("a",)
    assert fields.one("o").mapping == {}
    for read, name in [
        (fields.integer, "true"),
        (fields.text, "whole"),
        (fields.text, "absent"),
        (fields.many, "names"),
        (fields.texts, "rows"),
        (fields.truth, "whole"),
    ]:
        with pytest.raises(CorruptError, match=f"its field '{name}' is"):
            read(name)


def test_a_moment_of_any_zone_is_written_in_utc() -> None:
    there = datetime(2026, 11, 22, 21, 30, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(there) == "2026-11-22T19:30:00.000000Z"
    assert datetime.fromisoformat(timestamp(there)) == there.astimezone(UTC)
