"""What has happened fires once, waits while budget and cool-down hold it, and is served by one retraining."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlnb.errors import UsageError
from mlnb.project import Project
from mlnb.retrain.retrainer import Retrainer, Visit
from tests.bench.retrain_kills import raise_alarm
from tests.unit.retrain.conftest import Clock, Make


def once(retrainer: Retrainer) -> Visit:
    (visit,) = retrainer.once("late")
    return visit


def test_a_schedule_fires_from_its_first_look_on_and_missed_instants_are_one_trigger(retrainer: Make, clock: Clock):
    made = retrainer('schedule = "0 * * * *"')
    clock.now = datetime(2026, 11, 23, 19, 30, tzinfo=UTC)
    assert (once(made).fired, once(made).done) == (0, ())
    clock.pass_(hours=3)
    (outlook,) = made.plan()
    assert [cause.evidence["instants"] for cause in outlook.would_fire] == [3]
    assert made.docket.waiting("late") == ()  # a plan changes nothing
    visit = once(made)
    assert (visit.fired, len(visit.done)) == (1, 1)
    assert "came to 2026-11-23T22:00:00" in made.docket.triggers("late")[0].cause.reason
    assert outlook.next == datetime(2026, 11, 23, 23, 0, tzinfo=UTC)
    assert (once(made).fired, once(made).done) == (0, ())


def test_new_changed_and_removed_files_fire_once_each_time(retrainer: Make, clock: Clock, tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("1")
    made = retrainer('data = ["data/*.csv"]')
    clock.pass_(seconds=10)
    assert once(made).fired == 0
    (tmp_path / "data" / "b.csv").write_text("2")
    (tmp_path / "data" / "a.csv").write_text("3")
    clock.pass_(seconds=10)
    once(made)
    (tmp_path / "data" / "a.csv").write_text("1")
    (tmp_path / "data" / "b.csv").unlink()
    clock.pass_(seconds=10)
    once(made)
    assert (once(made).fired, len(made.docket.triggers("late"))) == (0, 2)
    reasons = [trigger.cause.reason for trigger in made.docket.triggers("late")]
    assert reasons == ["data/b.csv is new; data/a.csv is changed.", "data/a.csv is changed; data/b.csv is gone."]


def test_a_file_that_may_still_be_being_written_is_waited_for(retrainer: Make, clock: Clock, tmp_path: Path):
    (tmp_path / "rows.csv").write_text("1")
    made = retrainer('data = "rows.csv"')
    clock.now = datetime.fromtimestamp((tmp_path / "rows.csv").stat().st_mtime + 1, UTC)
    once(made)
    assert made.docket.seen("late") == {}
    clock.pass_(seconds=2)
    once(made)
    assert list(json.loads(made.docket.seen("late")["data"])) == ["rows.csv"]


def test_open_alarms_of_the_asked_kinds_fire_once_and_are_served_together(retrainer: Make, tmp_path: Path):
    made, project = retrainer('on_alarm = ["drift", "concept"]'), Project(tmp_path)
    project.alarms.acknowledge(raise_alarm(project, "distance"))
    for kind in ("drift", "concept", "range"):
        raise_alarm(project, "distance", kind)
    raise_alarm(project, "distance", alias="staging")
    visit = once(made)
    assert (visit.fired, len(visit.done)) == (2, 1)
    (served,) = {trigger.retraining for trigger in made.docket.triggers("late")}
    assert served == visit.done[0].id
    assert (once(made).fired, once(made).done) == (0, ())
    for one in project.alarms.list("late"):
        project.alarms.acknowledge(one.id)
    raise_alarm(project, "distance")  # raised anew
    assert once(made).fired == 1


def test_cool_down_and_budget_make_triggers_wait_and_lose_none(retrainer: Make, clock: Clock, tmp_path: Path):
    made, project = retrainer('on_alarm = true\ncool_down = "1 hour"\nbudget = "2 per day"'), Project(tmp_path)
    raise_alarm(project, "distance")
    assert len(once(made).done) == 1
    raise_alarm(project, "distance", "range")
    visit = once(made)
    assert (visit.done, len(visit.waiting)) == ((), 1)
    assert "cool-down of 1 hour" in visit.held
    clock.pass_(hours=1)
    assert len(once(made).done) == 1
    raise_alarm(project, "distance", "missing")
    clock.pass_(hours=2)
    visit = once(made)
    assert (visit.done, len(visit.waiting)) == ((), 1)
    assert "budget of 2 in 1 day" in visit.held
    clock.pass_(days=1)
    assert len(once(made).done) == 1
    assert all(trigger.retraining for trigger in made.docket.triggers("late"))


def test_what_a_person_asks_for_is_not_held_back_and_its_parameters_are_its_own(
    retrainer: Make, clock: Clock, tmp_path: Path
):
    made, project = (
        retrainer('on_alarm = true\ncool_down = "1 week"\nparameters = { until = "{date}" }'),
        Project(tmp_path),
    )
    made.ask("late", "look", {})
    assert len(once(made).done) == 1
    raise_alarm(project, "distance")
    made.ask("late", "the old data", {"until": "2013-06"})
    visit = once(made)
    assert [one.parameters for one in visit.done] == [{"until": "2013-06"}]
    assert [one.cause.kind for one in visit.waiting] == ["alarm"]
    today = f"{clock.now:%Y-%m-%d}"
    assert made.docket.list("late")[0].parameters == {"until": today}


def test_asking_without_a_reason_or_for_another_model_is_refused(retrainer: Make):
    made = retrainer("")
    with pytest.raises(UsageError, match="needs a model and a reason"):
        made.ask("late", " ")
    with pytest.raises(UsageError, match="lat has no"):
        made.once("lat")
    assert made.docket.triggers() == ()


def test_what_went_wrong_is_the_retrainings_outcome_and_a_row_of_the_audit_log(retrainer: Make, tmp_path: Path):
    made, project = retrainer(""), Project(tmp_path)
    made.ask("late", "look")
    (ended,) = once(made).done
    assert ended.outcome.state == "failed" and "nb.ipynb" in ended.outcome.reason
    (row,) = [row for row in project.audit.log() if row.action == "retrain"]
    assert (row.subject, row.detail["retraining"], row.detail["state"]) == ("late", ended.id, "failed")
    assert [one["kind"] for one in row.detail["triggers"]] == ["hand"]


def test_one_process_at_a_time_retrains_a_model(retrainer: Make, tmp_path: Path):
    made = retrainer("")
    made.ask("late", "look")
    other = Project(tmp_path).retraining
    with other.docket.alone("late") as alone:
        visit = once(made)
        assert alone and (visit.done, len(visit.waiting)) == ((), 1)
        assert "Another process retrains this model" in visit.held
    assert len(once(made).done) == 1


def test_a_retraining_whose_process_keeps_dying_fails_in_the_end(retrainer: Make):
    made = retrainer("tries = 2")
    made.ask("late", "look")
    docket, (terms,) = made.docket, made.terms.values()
    docket.begin("late", docket.waiting("late"), terms.values)
    docket.left("late")
    (ended,) = once(made).done
    assert (ended.attempts, ended.outcome.state) == (3, "failed")
    assert ended.outcome.reason == "Its process died 2 times, and tries = 2 allows no more."
