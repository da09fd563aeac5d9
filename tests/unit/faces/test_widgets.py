"""The promotion widget does what the command does, and is readable without a kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from mlnb.errors import GateError, OvertakenError, RegistryError, UsageError
from mlnb.faces.promotion import PROMOTION
from mlnb.faces.widgets import Promote
from mlnb.project import Project

SCHEMA = json.loads((Path(__file__).parents[3] / "labextension" / "api.schema.json").read_text("utf-8"))


def look(project: Project, **words: str) -> dict[str, object]:
    board = Promote("delays", project).answer({"ask": "look", **words})
    Draft202012Validator({**SCHEMA, "$ref": "#/$defs/PromotionBoard"}).validate(board)
    return board  # type: ignore[return-value]


def test_the_newest_version_stands_against_the_one_that_holds_the_alias(registered):
    board = look(Project(registered))
    assert (board["alias"], board["candidate"], board["champion"]) == ("production", "delays/3", "delays/2")
    assert [version["ref"] for version in board["versions"]] == ["delays/3", "delays/2", "delays/1"]
    assert [version["aliases"] for version in board["versions"]] == [["staging"], ["production"], []]
    (auc,) = (number for number in board["numbers"] if number["name"] == "auc")
    assert auc == {
        "name": "auc", "candidate": "0.6", "champion": "0.72", "difference": "-0.12", "ahead": "champion",
    }  # fmt: skip
    assert [verdict["passed"] for verdict in board["verdicts"]] == [False]
    assert (board["previous"], board["earlier"]) == ("delays/1", ["delays/1"])
    assert [move["to_ref"] for move in board["history"]] == ["delays/2", "delays/1"]


def test_another_choice_is_judged_anew(registered):
    board = look(Project(registered), ref="delays/1", alias="staging")
    assert (board["candidate"], board["champion"]) == ("delays/1", "delays/3")
    assert [verdict["passed"] for verdict in board["verdicts"]] == [True]
    assert look(Project(registered), alias="challenger")["champion"] == ""


def test_a_promotion_moves_the_alias_and_keeps_the_reason(registered):
    project = Project(registered)
    asked = {"ask": "promote", "ref": "delays/1", "alias": "production", "reason": "looks better", "held": "delays/2"}
    answer = Promote("delays", project).answer(asked)
    assert (answer["from"], answer["to"]) == ("delays/2", "delays/1")
    assert project.models.history("delays", "production")[-1].reason == "looks better"


def test_whoever_saw_another_champion_or_another_project_moves_nothing(registered):
    project = Project(registered)
    widget = Promote("delays", project)
    for asked in (
        {"ask": "promote", "ref": "delays/1", "alias": "production", "project": "/another"},
        {"ask": "rollback", "model": "delays", "alias": "production", "project": "/another"},
        {"ask": "approve", "ref": "delays/1", "alias": "production", "project": "/another"},
        {"ask": "promote", "ref": "delays/3", "alias": "staging", "held": "delays/1"},
        {"ask": "promote", "ref": "delays/1", "alias": "challenger", "held": "delays/2"},
        {"ask": "rollback", "model": "delays", "alias": "production", "to": "delays/1", "held": "delays/3"},
    ):
        before = project.models.aliases("delays")
        with pytest.raises((OvertakenError, GateError, UsageError)):
            widget.answer(asked)
        assert project.models.aliases("delays") == before
    widget.answer({"ask": "promote", "ref": "delays/1", "alias": "challenger", "project": look(project)["project"]})
    assert project.models.aliases("delays")["challenger"] == 1


def test_a_failed_gate_stops_the_click_and_force_needs_a_reason(registered):
    project = Project(registered)
    widget = Promote("delays", project)
    asked = {"ask": "promote", "ref": "delays/3", "alias": "production"}
    with pytest.raises(GateError):
        widget.answer(asked)
    with pytest.raises(UsageError):
        widget.answer({**asked, "force": True})
    widget.answer({**asked, "force": True, "reason": "only for an hour"})
    assert look(project)["history"][0]["failed"] == ["auc is 0.6, 0.1 below the limit 0.7."]


def test_a_rollback_names_its_target_so_that_two_clicks_are_one(registered):
    project = Project(registered)
    widget = Promote("delays", project)
    asked = {"ask": "rollback", "model": "delays", "alias": "production", "to": "delays/1"}
    assert widget.answer(asked)["changed"] is True
    assert widget.answer(asked)["changed"] is False
    assert project.models.aliases("delays")["production"] == 1


def test_approvals_are_shown_and_those_of_the_maker_do_not_count(registered):
    (registered / "pyproject.toml").write_text("[tool.mlnb.policy.production]\napprovals = 1\n")
    with pytest.raises(GateError):
        Promote("delays", Project(registered, "ada")).answer(
            {"ask": "approve", "ref": "delays/2", "alias": "production"}
        )
    bob = Promote("delays", Project(registered, "bob"))
    before = bob.answer({"ask": "revision"})
    bob.answer({"ask": "approve", "ref": "delays/2", "alias": "production", "reason": "read it"})
    assert bob.answer({"ask": "revision"}) != before
    board = look(Project(registered, "cyd"), ref="delays/2")
    assert board["approvals_needed"] == 1
    assert [(one["by"], one["reason"], one["counts"]) for one in board["approvals"]] == [("bob", "read it", True)]
    assert board["refusal"] == ""
    assert look(Project(registered, "bob"), ref="delays/2")["refusal"]  # who approves does not promote


def test_a_reader_without_a_kernel_gets_tables(registered):
    bundle = Promote("delays", Project(registered))._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data
    assert json.loads(json.dumps(data[PROMOTION]))["model"] == "delays"
    assert data["text/html"].startswith("<table>") and "delays/2" in data["text/html"]
    assert "<script" not in data["text/html"]
    assert "delays/2" in data["text/plain"]


def test_what_people_wrote_cannot_become_markup(registered):
    project = Project(registered)
    project.promote("delays/1", "production", reason="<img src=x onerror=alert(1)>")
    bundle = Promote("delays", project)._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "<img" not in data["text/html"] and "&lt;img" in data["text/html"]


@pytest.mark.parametrize(
    "words",
    [
        {"ask": "promote", "ref": "--force", "alias": "production"},
        {"ask": "promote", "ref": "delays/1"},
        {"ask": "promote", "ref": "delays/1", "alias": "../x"},
        {"ask": "promote", "ref": "delays/1", "alias": "production", "reason": "x" * 2001},
        {"ask": "rollback", "model": "delays", "alias": "production", "to": "other/1"},
        {"ask": "look", "ref": "other/1"},
        {"ask": "look", "alias": "a b"},
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_nothing_is_written(registered, words):
    project = Project(registered)
    widget, before = Promote("delays", project), project.revision()
    with pytest.raises((UsageError, RegistryError)):
        widget.answer(words)
    assert project.revision() == before


class Failing(Project):
    """A project that fails as nobody expects: a driver's own error, say."""

    def revision(self) -> str:
        """Fail."""
        raise RuntimeError("the driver has crashed")


class Page(Promote):
    """A widget with a page that keeps what it gets."""

    def send(self, content, buffers=None):
        """Keep it."""
        self.got = content


def test_a_page_is_answered_whatever_goes_wrong(registered, capfd):
    page = Page("delays", Failing(registered))
    page._handle_custom_msg({"id": "x-1", "ask": "promote", "ref": "delays/9", "alias": "staging"}, [])
    assert page.got["id"] == "x-1" and "delays/9" in page.got["fault"]["problem"]
    page._handle_custom_msg({"id": "x-2", "ask": "revision"}, [])
    assert page.got["id"] == "x-2" and page.got["fault"]["remedy"] == "Read the kernel's log."
    assert "the driver has crashed" in page.got["fault"]["problem"] and "Traceback" in capfd.readouterr().err


def test_an_unknown_model_is_said_at_once(registered):
    with pytest.raises(RegistryError):
        Promote("delay", Project(registered))
