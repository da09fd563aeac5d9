"""What is kept of a row, and for how long."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from pathlib import Path
from zlib import crc32

import pytest

from mlnb.errors import SettingsError
from mlnb.service.app import Application
from mlnb.service.bento import Bento
from mlnb.service.configuration import Configuration, configure
from mlnb.service.log import Ids, PredictionLog, Record
from mlnb.service.log_content import REDACTED, Content
from mlnb.service.log_reader import read_labels, read_predictions
from mlnb.service.log_roll import roll


def record(name: str = "a", status: int = 200, inputs: str | None = '{"ssn":"123","age":4}') -> Record:
    error = None if status == 200 else "rows[0]: column 'ssn' must be a number, but is the string '123'"
    return Record(name, "r", 0, 9, "delays", 1, "staging", status, 0.5, inputs, "1", "[0,1]", error)


def kept(settings: Configuration, one: Record) -> Record:
    (left,) = Content(settings).kept([one])
    return left


def test_inputs_of_a_share_of_the_rows_are_kept_and_everyone_can_tell_which() -> None:
    ids = Ids().take(20_000)
    left = Content(Configuration(log_sample=0.1)).kept([record(name) for name in ids])
    chosen = [one.id for one in left if one.inputs is not None]
    assert 0.08 < len(chosen) / len(ids) < 0.12
    assert chosen == [name for name in ids if crc32(name.encode()) / 2**32 < 0.1]
    assert all((one.prediction, one.version) == ("1", 1) for one in left)
    assert kept(Configuration(log_sample=0), record(status=422)).inputs  # what was refused is kept whole


def test_a_redacted_column_is_null_or_a_keyed_digest() -> None:
    null = json.loads(kept(Configuration(log_redact="ssn, email"), record()).inputs or "")
    assert null == {"ssn": None, "age": 4, REDACTED: ["ssn", "email"]}
    keyed = json.loads(kept(Configuration(log_redact="ssn", log_redact_key="k"), record()).inputs or "")
    assert keyed["ssn"] == hmac.new(b"k", b'"123"', hashlib.sha256).hexdigest()[:32]


def test_a_redacted_column_that_no_model_takes_is_told(
    tmp_path: Path, bento: Bento, caplog: pytest.LogCaptureFixture
) -> None:
    application = Application(bento.path / "src", None, tmp_path, Configuration(log_redact="age, ssn"))
    application.open()
    application.close()
    assert [one.getMessage().rpartition(": ")[2] for one in caplog.records] == ["ssn."]


def test_nothing_of_a_refused_body_is_kept_where_columns_are_redacted() -> None:
    settings = Configuration(log_redact="ssn")
    wrong = kept(settings, record(status=422))
    assert wrong.inputs is None
    assert wrong.error is not None
    assert "123" not in wrong.error
    assert wrong.error.endswith("Columns named: ssn.")
    gone = kept(settings, record(status=404)._replace(error="delays has no alias 'x'."))
    assert (gone.inputs, gone.error) == (None, "delays has no alias 'x'.")


def test_what_was_said_of_a_redacted_column_is_not_kept() -> None:
    said = record()._replace(warnings='["ssn \'123\' is unknown","age is far"]')
    assert kept(Configuration(log_redact="ssn"), said).warnings == '["age is far"]'
    assert kept(Configuration(log_redact="ssn,age"), said).warnings is None


def test_rows_and_labels_that_are_too_old_are_removed_while_the_service_runs(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = PredictionLog(tmp_path)
        await log.append([record(f"{at:04}")._replace(logged_at=9) for at in range(1200)])
        await log.label({"0000": "1"}, 9)
        log.close()
        roll(tmp_path, at=9)
        log = PredictionLog(tmp_path)
        await log.append([record(f"old{at:04}")._replace(logged_at=9) for at in range(1200)])
        log.close()
        log = PredictionLog(tmp_path, Configuration(log_keep_days=1))
        await log.append([record("new")._replace(logged_at=2**62)])
        while len([name for batch in read_predictions(tmp_path) for name in batch.id]) > 1:
            await asyncio.sleep(0.01)
        log.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))
    (batch,) = read_predictions(tmp_path)
    assert batch.id == ("new",)
    assert read_labels(tmp_path) == {}
    assert list((tmp_path / "segments").iterdir()) == []


@pytest.mark.parametrize(("key", "value"), [("log_sample", 1.5), ("log_keep_days", -1.0), ("log_window_ms", 100_000)])
def test_a_number_that_means_nothing_is_refused(key: str, value: float) -> None:
    with pytest.raises(SettingsError, match="It is from 0 to"):
        configure({key: value}, {})
