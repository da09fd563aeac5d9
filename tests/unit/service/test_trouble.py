"""What goes wrong beside the answers harms none: a shadow that hangs, a canary that fails, another configuration."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from mlnb.errors import MlnbError, OvertakenError
from mlnb.project import Project
from mlnb.service.bento import Bento
from mlnb.service.log_reader import read_predictions
from mlnb.traffic import Desk
from tests.bench.kills import Callers, until
from tests.unit.service.traffic_site import BROKEN_HOOKS, SETTINGS, Led, Site, hooked


@pytest.fixture(scope="module")
def led(tmp_path_factory: pytest.TempPathFactory, hooked_package: Path) -> Led:
    return Led(tmp_path_factory.mktemp("led"), hooked_package)


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, packages: dict[int, Path], hooked_package: Path, led: Led, bento: Bento
) -> Iterator[Site]:
    """The hook of version 3 fails at each request, that of version 4 does what the test wants."""
    broken = hooked(tmp_path_factory.mktemp("broken") / "package", hooked_package, BROKEN_HOOKS)
    site = Site(tmp_path_factory.mktemp("site"), {**packages, 3: broken, 4: led.package}, bento)
    yield site
    site.close()


@pytest.fixture(autouse=True)
def _one_version(site: Site) -> Iterator[None]:
    """Begin each test with version 1 alone."""
    yield
    site.traffic("--off")


@pytest.fixture
def body(site: Site) -> bytes:
    return json.dumps({"rows": site.rows[:1]}).encode()


def logged_once(site: Site, told: dict[str, object]) -> None:
    """Every prediction that was told is in the log, once, as it was told."""
    rows = [(row["id"], json.loads(str(row["prediction"]))) for row in site.logged() if row["id"] in told]
    assert len(rows) == len(told)
    assert dict(rows) == told


def shadowed(site: Site) -> list[object]:
    """Return the predictions that version 4 was asked for as well and has answered."""
    return [row["shadow_of"] for row in site.logged(shadow=True) if row["role"] == "shadow"]


def shadow_counts(site: Site) -> dict[str, int]:
    versions = site.traffic()["production"]["versions"]
    [counts] = [one for one in versions if one["role"] == "shadow"]  # type: ignore[attr-defined]
    return counts


def test_answers_arrive_and_are_logged_while_the_shadow_hangs_in_every_worker(
    site: Site, led: Led, body: bytes
) -> None:
    assert shadowed(site) == []
    site.traffic("--shadow", "4")
    with led.made("held"), Callers(site.url.port, [body], count=8) as load:  # the shadow waits until this block ends
        until(lambda: len(led.asked()) == 2 or bool(load.faults))
        hanging = len(load.told)
        load.go_on(400)
        assert len(load.told) >= hanging + 400
        assert shadowed(site) == []  # it has answered nothing yet
    assert load.faults == []
    logged_once(site, load.told)

    until(lambda: shadow_counts(site)["requests"] + shadow_counts(site)["dropped"] == len(load.told))
    counts, answers = shadow_counts(site), shadowed(site)
    assert counts["dropped"] > 0
    assert len(answers) == len(set(answers)) == counts["requests"] > 0
    assert set(answers) <= set(load.told)


def heard(site: Site) -> set[str]:
    """Return who answers 60 callers over connections to every worker; the status where nobody does."""
    connections = [HTTPConnection("127.0.0.1", site.url.port, timeout=30) for _ in range(6)]
    for connection in connections:
        connection.connect()
    found = set()
    for caller in range(60):
        connection = connections[caller % len(connections)]
        connection.request("POST", "/predict", json.dumps({"rows": site.rows[:1]}), {"X-Caller-Id": str(caller)})
        response = connection.getresponse()
        found.add(str(json.loads(response.read()).get("version", response.status)))
    for connection in connections:
        connection.close()
    return found


def taken_back(site: Site, version: int, share: str) -> dict[str, object]:
    """Return the evidence of the one canary of a version that the audit log tells the end of."""
    until(lambda: heard(site) == {"delays/1"})  # nobody at a terminal has done anything
    assert "canary-abort" in site.mlnb("audit", "log")
    assert site.traffic() == {}
    assert site.project.models.aliases("delays")["production"] == 1
    row = [row for row in site.project.audit.log("delays@production") if row.action == "canary-abort"][-1]
    assert (row.actor, row.detail["version"], row.detail["back_to"]) == ("service delays", version, 1)
    sentence = f"delays/{version} was taken back from production at {share} of the requests: "
    assert str(row.detail["reason"]).startswith(sentence)
    assert site.project.audit.verify().ok
    reason = str(row.detail["reason"]).removeprefix(sentence)
    return {**row.detail["evidence"], "reason": reason}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("version", "limits", "reason"),
    [
        (2, ("--max-p99-ms", "0.001"), "{slow:.0f} of {requests:.0f} requests took more than 0.001 ms: p99 is "),
        (
            3,
            ("--max-error-rate", "1", "--gate", "error_rate_difference <= 0.1"),
            "error_rate_difference is 1, not <= 0.1.",
        ),
    ],
    ids=["latency", "gate"],
)
def test_a_canary_that_exceeds_a_limit_ends_itself(
    site: Site, version: int, limits: tuple[str, ...], reason: str
) -> None:
    """`test_traffic_service` does so with a canary that fails."""
    words = ("services", "canary", "delays", str(version), "--steps", "50", "--every", "10m", *limits)
    assert "canary: step 1 of 1, 50%" in site.mlnb(*words)
    evidence = taken_back(site, version, "50%")
    assert str(evidence["reason"]).startswith(reason.format(**evidence))


def test_a_canary_that_begins_to_fail_after_its_last_step_is_taken_back_while_it_waits(site: Site, led: Led) -> None:
    site.mlnb("services", "canary", "delays", "4", "--steps", "30,60,100", "--every", "0.3s")
    until(lambda: site.traffic()["production"]["canary_state"] == "waiting")
    assert heard(site) == {"delays/4"}
    with led.made("broken"):
        evidence = taken_back(site, 4, "100%")
    assert 0.0 < evidence["error_rate"] < 1.0  # type: ignore[operator]


def at_once(site: Site, *acts: Callable[[Desk], object]) -> list[object]:
    """Let as many people act at the same time, each with a project of their own; return what came of it."""
    ready = threading.Barrier(len(acts))

    def act(one: Callable[[Desk], object]) -> object:
        project = Project(site.project.root)
        desk = Desk(project.bench, project.services, project.outbox, project.actor)
        ready.wait(60)
        try:
            return one(desk)
        except MlnbError as error:
            return error
        finally:
            project.ledger.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(act, acts))


def test_the_end_of_a_canary_that_several_people_see_at_once_is_told_once(site: Site) -> None:
    told = site.mlnb("services", "canary", "delays", "3", "--steps", "50", "--every", "10m", "--json")
    experiment = json.loads(told)["traffic"]["production"]["id"]
    until(lambda: heard(site) == {"delays/1"})
    at_once(site, *[lambda desk: desk.live("delays")] * 6)
    rows = site.project.audit.log("delays@production", action="canary-abort")
    assert [row.detail["experiment"] for row in rows].count(experiment) == 1
    assert site.traffic() == {}


def test_traffic_of_two_aliases_that_two_people_change_at_once_is_that_of_both(site: Site) -> None:
    site.project.promote("delays/1", "staging")
    for _ in range(3):
        at_once(
            site,
            lambda desk: desk.split("delays", "production", {1: 0.5, 2: 0.5}, ""),
            lambda desk: desk.shadow("delays", "staging", 2, 1.0),
        )
        assert set(site.traffic()) == {"production", "staging"}
        at_once(
            site,
            lambda desk: desk.off("delays", "production"),
            lambda desk: desk.off("delays", "staging"),
        )
        assert site.traffic() == {}


def test_who_changes_the_traffic_of_an_alias_has_seen_what_it_was_or_is_told_to_look_again(site: Site) -> None:
    for _ in range(3):
        before = len(site.project.audit.log("delays@production", action="traffic"))
        came = at_once(
            site,
            lambda desk: desk.split("delays", "production", {1: 0.5, 2: 0.5}, ""),
            lambda desk: desk.split("delays", "production", {1: 0.25, 2: 0.75}, ""),
        )
        overtaken = [one for one in came if isinstance(one, OvertakenError)]
        rows = site.project.audit.log("delays@production", action="traffic")[before:]
        assert len(rows) + len(overtaken) == len(came)
        [experiment] = {row.detail["experiment"] for row in rows}  # the second goes on with that of the first
        assert site.traffic()["production"]["id"] == experiment
        assert all("was changed by somebody else meanwhile" in str(one) for one in overtaken)
        site.traffic("--off")


def test_traffic_of_an_alias_that_has_moved_ends_although_the_service_does_not_follow_yet(site: Site) -> None:
    site.project.promote("delays/1", "staging")
    site.traffic("--split", "1=0.5,2=0.5")
    site.project.models.promote("delays/2", "production", by="ada")
    try:
        told = site.mlnb("services", "traffic", "delays", "--split", "1=0.2,2=0.8", code=2)
        assert "delays@production, or its traffic, was changed by somebody else meanwhile" in told
        assert set(site.traffic("--alias", "staging", "--shadow", "3")) == {"staging"}
        assert heard(site) == {"delays/2"}
    finally:
        site.traffic("--alias", "staging", "--off")
        site.project.promote("delays/1", "production")


def test_another_configuration_is_taken_up_under_load_and_loses_no_answer(site: Site, body: bytes) -> None:
    two = json.dumps({"rows": site.rows[:2]}).encode()

    def statuses() -> set[int]:
        connections = [HTTPConnection("127.0.0.1", site.url.port, timeout=30) for _ in range(9)]
        for connection in connections:
            connection.request("POST", "/predict", two)
        found = {connection.getresponse().status for connection in connections}
        for connection in connections:
            connection.close()
        return found

    with Callers(site.url.port, [body], count=2) as load:
        load.go_on(100)
        before = set(load.told)
        assert statuses() == {200}
        site.settings.write_text(SETTINGS + "max_rows = 1\nlog_redact = 'age'\n")
        site.mlnb("services", "restart", "delays")
        assert statuses() == {413}
        during = set(load.told)
        load.go_on(100)
        after = set(load.told) - during
    assert load.faults == []
    logged_once(site, load.told)
    folder = site.project.state.predictions / "delays"
    ages = {
        key: json.loads(str(inputs))["age"]
        for batch in read_predictions(folder)
        for key, inputs in zip(batch.id, batch.inputs, strict=True)
        if key in load.told
    }
    assert {ages[key] for key in before} == {site.rows[0]["age"]}
    assert {ages[key] for key in after} == {None}
