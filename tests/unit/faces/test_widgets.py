"""The promotion widget does what the command does, and is readable without a kernel."""

from __future__ import annotations

from mlnb.faces.widgets import Promote
from mlnb.project import Project


def test_the_newest_version_is_chosen_and_everything_is_shown(registered):
    widget = Promote("delays", Project(registered))
    assert widget.version.options == ("delays/3", "delays/2", "delays/1")
    assert widget.version.value == "delays/3"
    table = widget.children[0].value
    assert table.index("delays/3") < table.index("delays/2") < table.index("delays/1")
    assert "production" in table and "auc 0.72" in table
    assert "auc" in widget.children[1].value and "✗" in widget.children[1].value


def test_choosing_a_version_shows_its_gates(registered):
    widget = Promote("delays", Project(registered))
    widget.version.value = "delays/1"
    assert "Gates of delays/1" in widget.children[1].value and "✓" in widget.children[1].value


def test_the_button_moves_the_alias(registered):
    project = Project(registered)
    widget = Promote("delays", project)
    widget.version.value, widget.reason.value = "delays/1", "looks better"
    widget.button.click()
    assert project.models.aliases("delays")["production"] == 1
    assert "production: delays/2 -&gt; delays/1" in widget.message.value
    assert project.models.history("delays", "production")[-1].reason == "looks better"


def test_a_gate_that_failed_is_said_and_nothing_moves(registered):
    project = Project(registered)
    widget = Promote("delays", project)
    widget.button.click()
    assert project.models.aliases("delays")["production"] == 2
    assert "auc" in widget.message.value and "--force" in widget.message.value
    assert not widget.button.disabled


def test_the_other_button_rolls_back(registered):
    project = Project(registered)
    widget = Promote("delays", project)
    widget.back.click()
    assert project.models.aliases("delays")["production"] == 1
    widget.back.click()
    assert "delays" in widget.message.value and not widget.back.disabled


def test_a_reader_without_a_kernel_gets_a_table(registered):
    bundle = Promote("delays", Project(registered))._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"].startswith("<table>") and "delays/2" in bundle["text/html"]
    assert "<script" not in bundle["text/html"]
    assert "delays/2" in bundle["text/plain"]


def test_what_people_wrote_cannot_become_markup(registered):
    project = Project(registered)
    widget = Promote("delays", project)
    widget.alias.value = "<b>x</b>"
    widget.version.value = "delays/1"
    widget.button.click()
    assert "<b>x" not in widget.message.value and "&lt;b&gt;" in widget.message.value
