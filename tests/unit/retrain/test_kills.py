"""The daemon is killed at random moments: no trigger is lost, none is done twice. The bench `retrain_kills` kills more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from mlnb.project import Project
from tests.bench.retrain_kills import Daemons, ask, faults, served, write_settings
from tests.unit.faces.test_effects import Receiver

KILLS = 10


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_no_trigger_is_lost_and_none_done_twice_when_the_daemon_is_killed(tmp_path: Path, receiver: Receiver):
    (tmp_path / "nb.ipynb").write_text('{"cells": "none"}', "utf-8")
    terms = 'on_alarm = true\nschedule = "* * * * * *"'
    write_settings(tmp_path, terms, f'notify_url = "{receiver.url}"')
    project = Project(tmp_path)
    with Daemons(tmp_path, seed=7) as daemons:
        for number in range(KILLS):
            ask(project, number)
            daemons.kill(0.25)
        daemons.finish(lambda: served(project, KILLS))
    assert faults(project, KILLS) == []
    project.effects.deliver()  # what the last one could not any more
    events = dict(receiver.told)  # one may come twice, with its key
    ended = [one.id for one in project.retraining.docket.list("late") if one.ended_at]
    assert sorted(body["id"] for body in events.values()) == ended
    assert {body["event"] for body in events.values()} == {"retraining"}
    assert all("Retraining" in body["text"] for body in events.values())
