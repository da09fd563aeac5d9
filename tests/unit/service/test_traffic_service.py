"""Traffic through the front door: the command line, a service's own processes, HTTP and the prediction log."""

from __future__ import annotations

import io
import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from mlnb.faces.cli import main
from mlnb.monitor.versus import versus
from mlnb.service.bento import Bento
from mlnb.service.log_reader import read_dated_labels
from mlnb.service.traffic import caller_digest
from tests.bench.kills import until
from tests.bench.swap import Move, moved, under_load
from tests.unit.service.traffic_site import BROKEN_HOOKS, Site, hooked


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, packages: dict[int, Path], hooked_package: Path, bento: Bento
) -> Iterator[Site]:
    """Versions 1 and 2 disagree about age; the hook of version 3 fails at each request."""
    broken = hooked(tmp_path_factory.mktemp("broken") / "package", hooked_package, BROKEN_HOOKS)
    site = Site(tmp_path_factory.mktemp("site"), {**packages, 3: broken}, bento)
    yield site
    site.close()


@pytest.fixture(autouse=True)
def _one_version(site: Site) -> Iterator[None]:
    """Begin each test with version 1 alone."""
    yield
    site.traffic("--off")
    site.project.promote("delays/1", "production")


def test_a_split_is_sticky_counted_logged_and_in_the_audit_log(site: Site) -> None:
    before = {row["id"] for row in site.logged()}
    told = site.traffic("--split", "1=0.5,2=0.5", "--sticky", "X-User")["production"]
    assert told["sticky"] == "x-user"
    first = {caller: site.version(caller, "X-User") for caller in map(str, range(40))}
    assert set(first.values()) == {"delays/1", "delays/2"}
    assert {caller: site.version(caller, "X-User") for caller in first} == first
    assert {site.version() for _ in range(40)} == {"delays/1", "delays/2"}

    site.traffic("--split", "1=0.2,2=0.8")
    moved = {caller: site.version(caller, "X-User") for caller in first}
    assert all(moved[caller] == "delays/2" for caller in first if first[caller] == "delays/2")
    assert Counter(moved.values())["delays/2"] > Counter(first.values())["delays/2"]
    rows = [row for row in site.logged() if row["role"] == "ab" and row["id"] not in before]
    assert len(rows) == 160
    by_caller = {row["caller"]: row["version"] for row in rows}
    assert {caller_digest(caller): int(ref[-1]) for caller, ref in moved.items()}.items() <= by_caller.items()
    assert "0" not in by_caller
    asked = site.traffic()["production"]["versions"]
    until(lambda: sum(one["requests"] for one in site.traffic()["production"]["versions"]) == 160)  # type: ignore[attr-defined]
    assert {one["version"]: one["share"] for one in asked} == {"delays/1": 0.2, "delays/2": 0.8}  # type: ignore[attr-defined]
    assert "delays/2" in site.mlnb("services", "traffic", "delays")
    acts = [row for row in site.project.audit.log("delays@production") if row.action == "traffic"]
    assert [row.detail["split"] for row in acts if row.detail["experiment"] == told["id"]] == [
        {"1": 0.5, "2": 0.5},
        {"1": 0.2, "2": 0.8},
    ]


def test_swaps_and_rollbacks_under_load_fail_no_request_and_every_answer_is_of_the_version_it_names(site: Site) -> None:
    """`python -m tests.bench swap` moves more often, and measures how soon a rollback is seen."""
    body = json.dumps({"rows": site.rows}).encode()
    right = {}
    for number in (2, 1):
        site.mlnb("promote", f"delays/{number}", "production")
        right[f"delays/{number}"] = site.ask(rows=site.rows)[1]["predictions"]
    assert right["delays/1"] != right["delays/2"]
    aliases = site.project.state.services / "delays" / "aliases.json"

    def work() -> list[Move]:
        moves = [Move("delays/1", 0.0, 0.0, back=False)]
        promote, rollback = ("promote", "delays/2", "production"), ("rollback", "delays", "production")
        for _ in range(3):
            moves.append(moved(aliases, "delays/2", False, lambda: site.mlnb(*promote)))
            moves.append(moved(aliases, "delays/1", True, lambda: site.mlnb(*rollback)))
        return moves

    outcome = under_load(site.url.url, body, 6, work)
    assert {one.version for one in outcome.heard} == set(right)
    assert (outcome.failed(), outcome.mixed(right), outcome.untimely()) == (0, 0, 0)


def test_a_column_of_the_rows_can_name_the_caller(site: Site) -> None:
    site.traffic("--split", "1=0.5,2=0.5", "--sticky", "column:age")
    answered: dict[int, set[str]] = {}
    for turn, rows in ((0, 1), (1, 1), (1, 400)):  # a large request is read beside the event loop
        for age in range(8):
            row = {**site.rows[turn], "age": age}
            answered.setdefault(age, set()).add(str(site.ask(rows=[row] * rows)[1]["version"]))
    assert {len(refs) for refs in answered.values()} == {1}
    assert len(set.union(*answered.values())) == 2


def test_a_canary_that_fails_is_taken_back_by_the_service_itself_and_the_audit_log_tells(site: Site) -> None:
    site.mlnb("services", "canary", "delays", "3", "--steps", "50,100", "--every", "10m", "--min-requests", "10")
    refused = next(str(caller) for caller in range(60) if site.ask(str(caller))[0] == 500)
    until(lambda: site.ask(refused)[0] == 200)  # nobody at a terminal has done anything
    assert {site.version(str(caller)) for caller in range(60)} == {"delays/1"}
    assert "delays/3 was taken back" in site.mlnb("services", "logs", "delays")
    assert "canary-abort" in site.mlnb("audit", "log")
    assert site.traffic() == {}
    [row] = [row for row in site.project.audit.log("delays@production") if row.action == "canary-abort"]
    assert row.actor == "service delays"
    assert "delays/3 was taken back from production at 50% of the requests" in str(row.detail["reason"])
    assert row.detail["evidence"]["error_rate"] == 1.0  # type: ignore[index]
    assert site.project.audit.verify().ok
    failed = [one for one in site.logged() if one["status"] == 500]
    assert {(one["version"], one["role"]) for one in failed} == {(3, "canary")}


def test_a_canary_that_fares_well_waits_for_a_promotion_that_was_asked_for(site: Site) -> None:
    words = ("--steps", "30,100", "--every", "1s", "--max-p99-ms", "60000", "--gate", "error_rate_difference <= 0.1")
    told = site.mlnb("services", "canary", "delays", "2", *words)
    assert "canary: step" in told
    refs = set()
    until(lambda: refs.add(site.version("one caller")) or site.traffic()["production"]["canary_state"] == "waiting")
    assert site.version("one caller") == "delays/2"
    assert site.project.models.aliases("delays") == {"production": 1}
    assert "waits: mlnb promote" in site.mlnb("services", "traffic", "delays")
    site.mlnb("promote", "delays/2", "production")
    assert site.traffic() == {}
    assert site.version() == "delays/2"


def test_a_canary_that_is_to_be_promoted_is_waited_for(site: Site) -> None:
    told = site.mlnb("services", "canary", "delays", "2", "--steps", "50,100", "--every", "0.2s", "--promote")
    assert "production: delays/1 -> delays/2" in told
    assert site.project.models.aliases("delays") == {"production": 2}


class Impatient(io.StringIO):
    """A terminal at which somebody presses Ctrl-C when the first step of a canary is told."""

    def write(self, text: str) -> int:
        """Press it."""
        if "canary: step 1" in text:
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


def test_who_waits_no_longer_for_a_canary_is_told_that_it_goes_on(site: Site) -> None:
    words = ["services", "canary", "delays", "2", "--every", "10m", "--promote", "--project", str(site.project.root)]
    err = io.StringIO()
    with redirect_stdout(Impatient()), redirect_stderr(err):
        main(words)
    assert "the canary of delays/2 goes on" in err.getvalue() and "mlnb promote delays/2 production" in err.getvalue()
    assert site.traffic()["production"]["canary_state"] == "running"


def test_a_shadow_is_asked_logged_and_counted_and_its_failure_harms_no_answer(site: Site) -> None:
    before = len(site.logged(shadow=True))
    site.traffic("--shadow", "2")
    site.traffic("--shadow", "3")
    answers = [site.ask(rows=site.rows[at : at + 3]) for at in range(10)]
    assert {status for status, _ in answers} == {200}
    assert {answer["version"] for _, answer in answers} == {"delays/1"}
    ids = [one for _, answer in answers for one in answer["ids"]]
    until(lambda: len(site.logged(shadow=True)) >= before + 30 + 30 + 10)
    rows = [row for row in site.logged(shadow=True)[:] if row["role"] == "shadow"]
    shadowed = [row for row in rows if row["version"] == 2 and row["shadow_of"] in ids]
    assert sorted(str(row["shadow_of"]) for row in shadowed) == ids
    assert {row["status"] for row in rows if row["version"] == 3} == {500}
    assert all(row["role"] != "shadow" for row in site.logged())
    [shadow, failing] = [one for one in site.traffic()["production"]["versions"] if one["role"] == "shadow"]  # type: ignore[attr-defined]
    assert (shadow["version"], shadow["share"], shadow["dropped"]) == ("delays/2", 1.0, 0)
    assert failing["version"] == "delays/3"


def label(site: Site, labels: dict[str, object]) -> None:
    site._connection.request("POST", "/labels", json.dumps({"labels": labels}))
    response = site._connection.getresponse()
    assert (response.status, json.loads(response.read())) == (200, {"accepted": len(labels)})


def test_two_versions_that_answer_side_by_side_are_compared_by_the_callers_labels(site: Site) -> None:
    words = ("models", "compare", "--live")
    assert "--alpha belongs to --live" in site.mlnb(*words, "delays/1", "delays/2", "--html", "a.html", code=2)
    assert "--alpha belongs to --live" in site.mlnb(
        "models", "compare", "delays/1", "delays/2", "--alpha", "0.1", code=2
    )
    assert "There are no labelled answers of" in site.mlnb(*words, "delays/3", "delays/1", code=2)
    site.traffic("--split", "1=0.5,2=0.5")
    callers: dict[str, list[str]] = {"delays/1": [], "delays/2": []}
    labels: dict[str, object] = {}
    for caller in range(120):
        for turn in range(2):
            _, answer = site.ask(f"person {caller}", rows=site.rows[turn : turn + 1])
            right = answer["version"] == "delays/2" or turn == 1  # a second answer does not count
            labels[answer["ids"][0]] = answer["predictions"][0] if right else 1 - answer["predictions"][0]
            if not turn:
                callers[answer["version"]].append(str(caller))
    label(site, labels)
    told = json.loads(site.mlnb(*words, "delays/1", "delays/2", "--json"))
    assert (told["metric"], told["unit"], told["better"]) == ("accuracy", "caller", "delays/2")
    assert told["first"] == {"version": "delays/1", "units": len(callers["delays/1"]), "mean": 0.0}
    assert told["second"] == {"version": "delays/2", "units": len(callers["delays/2"]), "mean": 1.0}
    assert 0 < told["difference"]["lower"] <= told["difference"]["estimate"] == 1.0
    text = site.mlnb(*words, "delays/2", "delays/1")
    assert "delays/2 is better than delays/1: accuracy of delays/1 less that of delays/2 is -1" in text
    assert "callers, not rows" in text
    assert "do not answer the same question" in site.mlnb(*words, "delays/1", "delays/1", code=2)
    assert "were not measured on the same rows" in site.mlnb("models", "compare", "delays/1", "delays/2")


def test_a_shadow_is_compared_by_pairs(site: Site) -> None:
    site.traffic("--shadow", "2")
    answers = [site.ask(rows=[row])[1] for row in site.rows[:40]]
    ids = {answer["ids"][0]: answer["predictions"][0] for answer in answers}
    until(lambda: len(set(ids) & {row["shadow_of"] for row in site.logged(shadow=True)}) == 40)
    rows = [row for row in site.logged(shadow=True) if row["shadow_of"] in ids]
    shadowed = {str(row["shadow_of"]): json.loads(str(row["prediction"])) for row in rows}
    agree = sum(shadowed[key] == prediction for key, prediction in ids.items())
    assert 0 < agree < 40
    told = json.loads(site.mlnb("services", "traffic", "delays", "--json"))["shadows"]["delays/2"]
    assert told["pairs"] >= 40
    assert 0 < told["agree"] < 1
    assert 0 < told["differences"]["p50"] <= told["differences"]["max"] <= 1
    assert "answers agree; difference p50" in site.mlnb("services", "traffic", "delays")
    label(site, dict(shadowed))
    answered = site.project.state.predictions / "delays"
    labels = {key: one for key, one in read_dated_labels(answered).items() if key in ids}
    paired = versus(answered, ("delays/1", "delays/2"), "classifier", (), labels)
    assert (paired.unit, paired.first.units, paired.second.mean) == ("pair", 40, 1.0)
    assert paired.first.mean == pytest.approx(agree / 40)
    assert paired.difference[0] == pytest.approx(1 - agree / 40)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("traffic", "delays", "--split", "2=1"), "leaves out delays/1"),
        (("traffic", "delays", "--split", "1=0.5,2=0.4"), "not positive parts of one"),
        (("traffic", "delays", "--split", "1=0.5,x=0.5"), "'x' is no version's number"),
        (("traffic", "delays", "--split", "1=half,2=0.5"), "'half' is no share"),
        (("traffic", "delays", "--split", "1=0.5,9=0.5"), "delays/9"),
        (("traffic", "delays", "--split", "1=0.5,2=0.5", "--off"), "three acts"),
        (("traffic", "delays", "--split", "1=0.5,2=0.5", "--sticky", "no header"), "not the name of a header"),
        (("traffic", "delays", "--shadow", "1"), "answers production itself"),
        (("traffic", "delays", "--alias", "producton", "--off"), "no alias 'producton'"),
        (("canary", "delays", "1"), "answers production already"),
        (("canary", "delays", "2", "--steps", "50,25"), "not rising shares"),
        (("canary", "delays", "2", "--every", "soon"), "no span of time"),
        (("canary", "delays", "2", "--gate", "auc > 0.9"), "does not count 'auc'"),
        (("canary", "delays", "2", "--every", "1e3d"), "no span of time"),
        (("canary", "delays", "2", "--every", "99999999999999d"), "no span of time"),
        (("traffic", "nothing"), "no service 'nothing'"),
    ],
)
def test_what_cannot_be_is_refused_in_two_sentences(site: Site, words: tuple[str, ...], sentence: str) -> None:
    before = site.traffic()
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["services", *words, "--project", str(site.project.root)])
    assert code == 2, (out.getvalue(), err.getvalue())
    assert sentence in err.getvalue()
    assert "Traceback" not in err.getvalue()
    assert site.traffic() == before


def test_a_version_whose_gate_failed_gets_no_traffic(site: Site) -> None:
    verdict = {"gate": "auc >= 0.9", "measured": 0.5, "limit": 0.9, "passed": False, "sentence": "auc is 0.5."}
    site.project.audit.record("ada", "judge", "delays/2", {"evidence": {"auc": 0.5}, "verdicts": [verdict]})
    try:
        assert "Gates of delays/2 failed" in site.mlnb("services", "canary", "delays", "2", code=3)
        assert "Gates of delays/2 failed" in site.mlnb(
            "services", "traffic", "delays", "--split", "1=0.5,2=0.5", code=3
        )
    finally:
        site.project.audit.record("ada", "judge", "delays/2", {"evidence": {"auc": 0.95}, "verdicts": []})


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ('[tool.mlnb.gates]\nproduction = ["size_mb <= 0.0001"]\n', "Gates of delays/2 failed"),
        ('[tool.mlnb.policy.production]\ntraffic = ["eve"]\n', "may not change the traffic of production"),
    ],
)
def test_who_gets_a_share_of_an_alias_meets_its_gates_and_its_policy(site: Site, table: str, sentence: str) -> None:
    settings = site.project.root / "pyproject.toml"
    before = settings.read_text("utf-8")
    settings.write_text(before + table, "utf-8")
    try:
        for words in (("canary", "delays", "2"), ("traffic", "delays", "--split", "1=0.5,2=0.5")):
            assert sentence in site.mlnb("services", *words, code=3)
    finally:
        settings.write_text(before, "utf-8")
    assert site.version() == "delays/1"
