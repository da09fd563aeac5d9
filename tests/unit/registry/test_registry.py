from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlnb.errors import CorruptError, GateError, OvertakenError, RegistryError, UsageError
from mlnb.registry.audit import Audit
from mlnb.registry.gates import judge, parse_gate
from mlnb.registry.lineage import Lineage
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger

DraftMaker = Callable[..., Draft]
FAILED = judge([parse_gate("auc >= 0.80"), parse_gate("f1 > 0.1")], {"auc": 0.731, "f1": 0.5})
PASSED = judge([parse_gate("auc >= 0.80")], {"auc": 0.86})


@pytest.fixture
def three(registry: Registry, draft: DraftMaker) -> Registry:
    for content in "abc":
        registry.register(draft(content))
    return registry


def actions(audit: Audit) -> list[tuple[str, str, str]]:
    return [(row.actor, row.action, row.subject) for row in audit.log()]


def test_versions_are_numbered_per_model_from_one(registry: Registry, draft: DraftMaker) -> None:
    refs = [registry.register(draft(content, model)).ref for model in ("delays", "fares") for content in "ab"]
    assert refs == ["delays/1", "delays/2", "fares/1", "fares/2"]
    assert registry.models() == ("delays", "fares")
    assert [version.ref for version in registry.list()] == refs
    assert [version.ref for version in registry.list("fares")] == refs[2:]


def test_a_version_is_read_as_it_was_registered(registry: Registry, draft: DraftMaker) -> None:
    lineage = Lineage(
        run="20130303-1",
        notebook="nb/delays.ipynb",
        notebook_digest="sha256:" + "1" * 64,
        git_commit="abc",
        git_dirty=True,
        parameters={"depth": 3, "rate": 0.1, "name": "é\n", "none": None, "many": [1, 2]},
        data=(("flights.csv", "sha256:" + "2" * 64),),
        environment="sha256:" + "3" * 64,
        stages={"train": "k1"},
    )
    given = dataclasses.replace(
        draft(),
        lineage=lineage,
        metrics={"auc": 0.1 + 0.2, "bad": math.nan, "worst": -math.inf, "rows": 7},
        signature={"inputs": [{"name": "origin"}]},
        parity={"max_abs": 1e-7},
    )
    registered = registry.register(given)
    read = registry.get("delays/1")
    assert repr(read) == repr(registered)
    assert read.lineage == lineage
    assert read.metrics["auc"] == 0.1 + 0.2
    assert math.isnan(read.metrics["bad"])
    assert (read.metrics["worst"], read.metrics["rows"]) == (-math.inf, 7.0)
    assert (read.files, read.signature, read.parity) == (given.files, given.signature, given.parity)
    assert (read.created_by, read.created_at) == ("anna", datetime(2013, 3, 3, 9, 1, tzinfo=UTC))
    assert read.to_json()["created_at"] == "2013-03-03T09:01:00.000000Z"


def test_the_same_content_is_the_same_version(registry: Registry, audit: Audit, draft: DraftMaker) -> None:
    first = registry.register(draft("a", run="r1"))
    registry.register(draft("b"))
    again = registry.register(draft("a", run="r2", by="ben"))
    assert again == first
    assert (again.created_by, again.lineage.run) == ("anna", "r1")
    assert [version.number for version in registry.list("delays")] == [1, 2]
    assert len(actions(audit)) == 2


def test_other_metrics_are_other_evidence_and_so_another_version(registry: Registry, draft: DraftMaker) -> None:
    assert registry.register(draft("a", auc=0.8)).number == 1
    assert registry.register(draft("a", auc=0.9)).number == 2


def test_a_given_content_decides_and_finds_the_version(registry: Registry, draft: DraftMaker) -> None:
    first = registry.register(dataclasses.replace(draft("bytes of one pickle"), content="sha256:key"))
    again = registry.register(dataclasses.replace(draft("bytes of another"), content="sha256:key"))
    assert again == first
    assert registry.find("delays", "sha256:key") == first
    assert registry.find("delays", "sha256:other") is None
    assert registry.find("nobody", "sha256:key") is None


def test_a_refused_draft_takes_no_number_and_makes_no_model(
    registry: Registry, audit: Audit, draft: DraftMaker
) -> None:
    with pytest.raises(CorruptError, match="missing"):
        registry.register(dataclasses.replace(draft(), files={"model.onnx": "sha256:" + "0" * 64}))
    with pytest.raises(RegistryError, match="is empty"):
        registry.register(dataclasses.replace(draft(), files={}))
    with pytest.raises(RegistryError, match="cannot be the name of a model"):
        registry.register(draft(model="../delays"))
    with pytest.raises(RegistryError, match="cannot be the name of a file"):
        registry.register(dataclasses.replace(draft(), files={"../x": draft().files["model.onnx"]}))
    with pytest.raises(UsageError, match="Nobody is named"):
        registry.register(draft(by=" "))
    assert registry.models() == ()
    assert actions(audit) == []
    assert registry.register(draft()).number == 1


def test_what_does_not_exist_is_answered_with_what_does(three: Registry) -> None:
    three.promote("delays/1", "production", by="anna")
    cases = {
        "delay/1": r"There is no model 'delay'\. Did you mean 'delays'\?",
        "delays/4": r"There is no version delays/4\. The newest is delays/3\.",
        "delays@prodution": r"delays has no alias 'prodution'\. Did you mean 'production'\?",
        "fares@production": r"There is no model 'fares'\.",
    }
    for ref, sentence in cases.items():
        with pytest.raises(RegistryError, match=sentence):
            three.get(ref)
        with pytest.raises(RegistryError, match=sentence):
            three.promote(ref, "staging", by="anna")
    with pytest.raises(RegistryError, match="Did you mean 'delays'"):
        three.list("delay")
    with pytest.raises(RegistryError, match="Did you mean 'delays'"):
        three.history("delay")
    assert three.aliases("delays") == {"production": 1}


def test_an_alias_points_to_one_version_and_follows_promotions(three: Registry, audit: Audit) -> None:
    first = three.promote("delays/1", "production", by="anna", reason="the first", verdicts=PASSED)
    assert (first.from_ref, first.to_ref, first.changed, first.forced) == ("", "delays/1", True, False)
    second = three.promote("delays/3", "production", by="ben")
    assert (second.from_ref, second.to_ref, second.by) == ("delays/1", "delays/3", "ben")
    three.promote("delays/2", "staging", by="anna")
    assert three.get("delays@production").ref == "delays/3"
    assert three.aliases("delays") == {"production": 3, "staging": 2}
    assert three.history("delays", "production") == (first, second)
    assert [move.alias for move in three.history("delays")] == ["production", "production", "staging"]
    assert first.verdicts == PASSED
    assert first.at == datetime(2013, 3, 3, 9, 4, tzinfo=UTC)
    assert actions(audit)[3:] == [
        ("anna", "promote", "delays@production"),
        ("ben", "promote", "delays@production"),
        ("anna", "promote", "delays@staging"),
    ]


def test_an_alias_can_be_promoted_by_another_alias(three: Registry) -> None:
    three.promote("delays/2", "staging", by="anna")
    assert three.promote("delays@staging", "production", by="anna").to_ref == "delays/2"


def test_promoting_what_is_there_changes_nothing(three: Registry, audit: Audit) -> None:
    first = three.promote("delays/1", "production", by="anna", reason="the first")
    again = three.promote("delays/1", "production", by="ben", reason="once more")
    assert again == dataclasses.replace(first, changed=False)
    assert len(three.history("delays", "production")) == 1
    assert len(actions(audit)) == 4


def test_a_failed_gate_stops_the_promotion_and_is_written_down(three: Registry, audit: Audit) -> None:
    with pytest.raises(GateError) as caught:
        three.promote("delays/1", "production", by="anna", verdicts=FAILED)
    assert caught.value.exit_code == 3
    assert caught.value.verdicts == ("auc is 0.731, 0.069 below the limit 0.80.",)
    assert "A gate of production failed for delays/1: auc is 0.731" in caught.value.problem
    assert three.aliases("delays") == {}
    row = audit.log()[-1]
    assert (row.actor, row.action, row.subject) == ("anna", "gate-failed", "delays/1")
    assert row.detail["verdicts"] == [verdict.to_json() for verdict in FAILED]


def test_force_needs_a_reason_and_is_written_down(three: Registry, audit: Audit) -> None:
    with pytest.raises(UsageError, match="by force needs a reason"):
        three.promote("delays/1", "production", by="anna", verdicts=FAILED, force=True, reason="  ")
    forced = three.promote("delays/1", "production", by="anna", verdicts=FAILED, force=True, reason="the old one burns")
    assert (forced.forced, forced.reason, forced.verdicts) == (True, "the old one burns", FAILED)
    detail = audit.log()[-1].detail
    assert (detail["forced"], detail["reason"]) == (True, "the old one burns")


def test_rollbacks_undo_promotions_one_by_one(three: Registry, audit: Audit) -> None:
    for number in (1, 2, 3):
        three.promote(f"delays/{number}", "production", by="anna")
    assert three.rollback("delays", "production", by="ben", reason="too slow").to_ref == "delays/2"
    move = three.rollback("delays", "production", by="ben")
    assert (move.kind, move.from_ref, move.to_ref) == ("rollback", "delays/2", "delays/1")
    with pytest.raises(RegistryError, match="nothing held it before delays/1") as caught:
        three.rollback("delays", "production", by="ben")
    assert (caught.value.model, caught.value.version, caught.value.alias) == ("delays", 1, "production")
    assert three.aliases("delays") == {"production": 1}
    assert [(move.kind, move.to_number) for move in three.history("delays", "production")] == [
        ("promote", 1), ("promote", 2), ("promote", 3), ("rollback", 2), ("rollback", 1),
    ]  # fmt: skip
    assert actions(audit)[-1] == ("ben", "rollback", "delays@production")


def test_a_second_click_on_roll_back_does_not_go_back_twice(three: Registry) -> None:
    for number in (1, 2, 3):
        three.promote(f"delays/{number}", "production", by="anna")
    assert three.rollback("delays", "production", by="anna", held=3).to_ref == "delays/2"
    with pytest.raises(OvertakenError, match="delays@production is delays/2 by now, and not delays/3"):
        three.rollback("delays", "production", by="anna", held=3)
    assert three.aliases("delays") == {"production": 2}


def test_a_promotion_after_a_rollback_lies_on_what_was_rolled_back_to(three: Registry) -> None:
    for number in (1, 2):
        three.promote(f"delays/{number}", "production", by="anna")
    three.rollback("delays", "production", by="anna")
    three.promote("delays/3", "production", by="anna")
    assert three.rollback("delays", "production", by="anna").to_ref == "delays/1"
    assert not three.promote("delays/1", "production", by="anna").changed


def test_a_rollback_needs_an_alias_and_something_beneath(three: Registry) -> None:
    three.promote("delays/1", "production", by="anna")
    with pytest.raises(RegistryError, match=r"no alias 'prod'\. Did you mean 'production'"):
        three.rollback("delays", "prod", by="anna")
    with pytest.raises(RegistryError, match="There is no model 'fares'"):
        three.rollback("fares", "production", by="anna")
    with pytest.raises(RegistryError, match="Promote another version"):
        three.rollback("delays", "production", by="anna")


def test_what_the_system_calls_a_person_is_kept_whatever_its_bytes(
    registry: Registry, audit: Audit, draft: DraftMaker
) -> None:
    registry.register(draft(by="anna\udcff\0"))
    registry.promote("delays/1", "production", by="anna\udcff\0", reason="\ud800")
    assert registry.get("delays/1").created_by == "anna\\udcff\\x00"
    assert registry.history("delays")[0].reason == "\\ud800"
    assert audit.verify().ok


def test_a_row_that_somebody_broke_is_said_to_be_corrupt(
    three: Registry, raw: Callable[..., list[tuple[object, ...]]]
) -> None:
    three.promote("delays/1", "production", by="anna")
    for column, value in [("metrics", "'{'"), ("lineage", "'{}'"), ("created_at", "'noon'"), ("files", "'[1]'")]:
        kept = raw(f"SELECT {column} FROM version WHERE number = 2")[0][0]
        raw(f"UPDATE version SET {column} = {value} WHERE number = 2")
        with pytest.raises(CorruptError, match="Version delays/2 cannot be read"):
            three.get("delays/2")
        raw(f"UPDATE version SET {column} = '{kept}' WHERE number = 2")
        assert three.get("delays/2").number == 2
    raw("UPDATE promotion SET verdicts = 'x'")
    with pytest.raises(CorruptError, match="Promotion 1 of delays@production cannot be read"):
        three.history("delays")


def test_a_second_registry_on_the_same_file_sees_it_all(three: Registry, store: FileStore, tmp_path: Path) -> None:
    three.promote("delays/2", "production", by="anna")
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert Registry(ledger, store).get("delays@production") == three.get("delays/2")
