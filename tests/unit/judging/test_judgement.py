"""Three real packages with labels before real gates: what was measured, on what, by how much, and what then moves."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from mlnb.errors import CorruptError, GateError, OvertakenError, SettingsError, UsageError
from mlnb.faces.cli import main
from mlnb.judging.judgement import Judgement, gates_of, judge_version, judged, reconsider, undisturbed
from mlnb.model.card_facts import CardFacts
from mlnb.model.evaluate import evaluate
from mlnb.model.evaluation_codec import write_all
from mlnb.model.export import export_model
from mlnb.model.fairness import Fairness, Group
from mlnb.model.signature import Signature
from mlnb.project import Project
from mlnb.registry.champion import check_alike
from mlnb.registry.gates import Verdict
from mlnb.registry.labelled import packaged_rows, write_truth
from mlnb.registry.lineage import Lineage, Step
from mlnb.registry.version import Draft
from mlnb.service.log import PredictionLog
from mlnb.service.log_record import Record
from mlnb.settings import Settings
from mlnb.ship import freeze_reference
from mlnb.store.manifest import write_json
from mlnb.store.seal import seal

ROWS = 900
GATES = """[tool.mlnb]
[tool.mlnb.gates]
production = ["better_than_champion auc", "no_worse_slice auc", "signature_compatible", "approved"]
"""


def flights() -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(3)
    rows = pd.DataFrame(
        {
            "wind": random.normal(size=ROWS),
            "load": random.normal(size=ROWS),
            "origin": random.choice(["EWR", "JFK", "LGA"], ROWS),
        }
    )
    sign = np.where(rows.origin == "LGA", -1.0, 1.0)  # wind helps at LGA
    late = rows.wind * sign + rows.load + random.normal(size=ROWS) > 0
    return rows, late.to_numpy().astype(int)


def fitted(columns: list[str], rows: pd.DataFrame, late: np.ndarray) -> object:
    return make_pipeline(make_column_transformer(("passthrough", columns)), LogisticRegression()).fit(rows, late)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Versions 1 by anna (load alone), 2 by bert (wind and load: worse at one origin), 3 by carla (wind alone)."""
    root = tmp_path_factory.mktemp("project")
    (root / "pyproject.toml").write_text(GATES, "utf-8")
    project = Project(root, actor="anna")
    rows, late = flights()
    held, truth = rows[ROWS // 3 :].reset_index(drop=True), late[ROWS // 3 :]
    made = [(["load"], "anna"), (["wind", "load"], "bert"), (["wind"], "carla")]
    for columns, by in made:
        model = fitted(columns, rows[: ROWS // 3], late[: ROWS // 3])
        folder = root / "-".join(columns)
        export = export_model(model, held, folder, model="late")
        freeze_reference(folder, held, "X_test")
        write_truth(folder, truth, "split.y_test")
        chances = model.predict_proba(held)[:, 1]
        found = evaluate(truth, chances, rows=held, slices=["origin"], resamples=200)
        write_all(folder / "evaluations.json", {"evaluate.evaluation": found})
        groups = tuple(Group(one, 200, False, {"selection_rate": rate}) for one, rate in (("f", 0.4), ("m", 0.55)))
        fair = Fairness("sex", "1", "split.y_test", groups, {"selection_rate": 0.15, "true_positive_rate": 0.12})
        write_json(folder / "card.json", CardFacts(fairness=(fair,)).to_json())
        seal(folder)
        files = {path.name: project.state.files.put(path)[0] for path in sorted(folder.iterdir())}
        cases = (("test_auc", "passed"), ("test_rows", "passed"))
        lineage = Lineage(run="r1", steps=(Step("test-evaluate", "test", cases=cases),))
        told = {"signature": export.signature.to_json(), "parity": export.parity.to_json()}
        project.models.register(Draft("late", by, export.exporter, files, {"auc": found["auc"]}, lineage, **told))
    yield SimpleNamespace(project=project, held=held, truth=truth)


def weigh(
    shop: SimpleNamespace, ref: str, *gates: str, alias: str = "trial", by: str = "anna", **given: float
) -> dict[str, Verdict]:
    version = shop.project.models.get(ref)
    evidence = {"auc": version.metrics["auc"], "latency_p99_ms": 3.5, "load_rps": 250.0, **given}
    found = judge_version(version, alias, gates, evidence, by, shop.project.bench)
    return dict(zip(gates, found.verdicts, strict=True))


@pytest.fixture(scope="module")
def champion(shop: SimpleNamespace) -> SimpleNamespace:
    """Version 1 holds the alias `trial`."""
    shop.project.models.promote("late/1", "trial", by="anna")
    return shop


def test_better_than_champion_is_measured_on_the_same_rows_with_an_interval(champion: SimpleNamespace) -> None:
    [verdict] = weigh(champion, "late/2", "better_than_champion auc").values()
    assert verdict.gate == "auc_gain_low > 0"
    assert verdict.on == "600 rows that both have scored: the sample of late/2, labels split.y_test"
    aucs = []
    for ref in ("late/1", "late/2"):
        told = champion.project.predict(ref, json.loads(champion.held.to_json(orient="records")))
        aucs.append(roc_auc_score(champion.truth, np.array(told["probabilities"])[:, 1]))
    assert f"roc_auc of late/2 is {aucs[1]:.4g}, that of late/1 {aucs[0]:.4g}" in verdict.sentence
    gain = weigh(champion, "late/2", "auc_gain >= 0")["auc_gain >= 0"]
    assert gain.measured == pytest.approx(aucs[1] - aucs[0])
    assert verdict.measured < gain.measured
    assert verdict.passed is (verdict.measured > 0)


def test_no_worse_slice_finds_the_one_origin_that_loses(champion: SimpleNamespace) -> None:
    verdicts = weigh(
        champion, "late/2", "no_worse_slice auc", "auc_worst_slice_gain >= -0.9", "auc_gain_low[origin=JFK] > 0"
    )
    worst, point, good = verdicts.values()
    assert not worst.passed
    assert "roc_auc[origin=LGA] of late/2" in worst.sentence
    assert "It is the worst of 3 slices." in worst.sentence
    assert worst.measured > point.measured
    assert good.passed


def test_a_lower_metric_is_better_where_it_falls(champion: SimpleNamespace) -> None:
    verdicts = weigh(champion, "late/3", "log_loss_gain <= 0", "no_worse_than_champion log_loss within 0.01")
    fell, sure = verdicts.values()
    assert fell.passed == (fell.measured <= 0)
    assert sure.measured <= fell.measured


def test_without_a_champion_there_is_nothing_to_be_better_than(shop: SimpleNamespace) -> None:
    gates = ("better_than_champion auc", "drift_max <= 0.1", "signature_compatible")
    better, drift, callers = weigh(shop, "late/2", *gates, alias="nobody").values()
    assert (better.passed, better.waived, drift.waived) == (True, True, True)
    assert better.sentence == "auc_gain_low > 0 asks nothing here: nothing holds nobody yet."
    assert (callers.passed, callers.measured) == (True, 0.0)


@pytest.mark.parametrize(
    ("gate", "passed", "said"),
    [
        ("auc >= 0.99", False, "below the limit 0.99; measured on 600 rows (evaluate.evaluation)."),
        ("evaluate.auc_low[origin=JFK] >= 0", True, "rows (evaluate.evaluation, 95 % interval)."),
        ("latency_p99_ms <= 20", True, "3.5, 16.5 below the limit 20; measured on its own Bento, 200 single rows at 250 a"),
        ("throughput_rps >= 5", False, "throughput_rps is not known, so it cannot meet the limit 5: its Bento was not tried"),
        ("parity_passed", True, "measured on 600 rows of the sample, against the estimator."),
        ("parity_flips <= 0", True, "measured on 600 rows of the sample, against the estimator."),
        ("tests_passed >= 2", True, "measured on 2 cases of 1 test in run r1."),
        ("tests_failed <= 0", True, "tests_failed is exactly the limit 0"),
        ("size_mb <= 0.01", False, "above the limit 0.01; measured on the 10 files of late/2."),
        ("model_mb <= 1", True, "measured on model.onnx of late/2."),
        ("signature_valid", True, "measured on the record and the 10 files of late/2."),
        ("fairness_gap <= 0.1", False, "fairness_gap is 0.12, 0.02 above the limit 0.1; measured on 400 rows in 2 groups of sex"),
        ("selection_rate_gap[column=sex] <= 0.2", True, "0.15, 0.05 below the limit 0.2"),
        ("selection_rate_gap[column=age] <= 0.2", False, "is not known"),
        ("drift_max <= 0.1", False, "late/1 was asked nothing in the last 7 days."),
        ("approvals >= 1", False, "approvals is 0, 1 below the limit 1"),
        ("incompatible_changes <= 0", True, "measured on the signatures of late/1 and late/2."),
        ("bias_gain >= 0", False, "bias is not measured of rows that both have scored."),
    ],
)  # fmt: skip
def test_every_kind_of_gate_says_what_was_measured_on_what_and_by_how_much(
    champion: SimpleNamespace, gate: str, passed: bool, said: str
) -> None:
    verdict = weigh(champion, "late/2", gate)[gate]
    assert (verdict.passed, verdict.waived) == (passed, False)
    assert said in verdict.sentence


@pytest.mark.parametrize(("older", "passed"), [(0.0, True), (3.0, False)])
def test_drift_compares_what_the_champion_was_asked_with_what_the_candidate_was_made_with(
    champion: SimpleNamespace, older: float, passed: bool
) -> None:
    project = champion.project
    folder = project.state.predictions / "late"
    shutil.rmtree(folder, ignore_errors=True)
    now = time.time_ns()
    rows = json.loads(champion.held.assign(wind=champion.held.wind + older).to_json(orient="records"))
    log = PredictionLog(folder)
    asked = [
        Record(f"p{at:04}", "r", now - at, now, "late", 1, "trial", 200, 1.0, json.dumps(row), "1", None, None, "")
        for at, row in enumerate(rows)
    ]

    async def write() -> None:
        await log.append(asked)

    try:
        asyncio.run(write())
    finally:
        log.close()
    most, columns = weigh(champion, "late/2", "drift_max <= 0.1", "drift_columns <= 0").values()
    shutil.rmtree(folder)
    assert (most.passed, columns.passed) == (passed, passed)
    assert "600 rows that late/1 was asked in 7 days, against the 600 that late/2 was made with" in most.sentence
    assert ("The column that differs most is wind" in most.sentence) is not passed


def test_drift_says_that_the_log_cannot_be_read_and_not_that_nobody_asked(champion: SimpleNamespace) -> None:
    folder = champion.project.state.predictions / "late"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "worker-1.db").write_bytes(b"no database" * 1000)
    [verdict] = weigh(champion, "late/2", "drift_max <= 0.1").values()
    shutil.rmtree(folder)
    assert not verdict.passed
    assert "what late/1 was asked cannot be read: The prediction log" in verdict.sentence


def test_a_notebook_cannot_give_the_numbers_that_control_it(champion: SimpleNamespace) -> None:
    gates = {
        "approvals": "approvals >= 1",
        "tests_failed": "tests_failed >= 1",
        "fairness_gap": "fairness_gap <= 0.1",
        "drift_max": "drift_max <= 0.1",
        "size_mb": "size_mb <= 0.01",
        "parity_max_abs": "parity_max_abs >= 1",
        "incompatible_changes": "incompatible_changes >= 1",
        "auc_gain_low": "auc_gain_low >= 0.5",
        "auc_worst_slice_gain_high": "auc_worst_slice_gain_high >= 0.5",
    }
    forged = {name: float(gate.split()[2]) for name, gate in gates.items()}
    verdicts = weigh(champion, "late/2", *gates.values(), **forged)
    assert [gate for gate, verdict in verdicts.items() if verdict.passed] == []


def test_a_number_of_the_run_that_only_sounds_like_one_of_ours_counts(champion: SimpleNamespace) -> None:
    own = {"information_gain": 0.4, "latency_mae": 2.0, "price_gap": 0.1, "drift_hours": 3.0}
    verdicts = weigh(champion, "late/2", *(f"{name} >= {value}" for name, value in own.items()), **own)
    assert [verdict.measured for verdict in verdicts.values()] == list(own.values())


def test_a_version_whose_bento_was_never_tried_brings_no_latency_of_its_own(champion: SimpleNamespace) -> None:
    known = champion.project.models.get("late/3")
    named = replace(known, metrics={**known.metrics, "latency_p99_ms": 0.1, "package_tests_passed": 9.0})
    found = reconsider(named, "trial", "anna", champion.project.bench)
    assert "latency_p99_ms" not in found.evidence
    assert "package_tests_passed" not in found.evidence


def test_a_number_that_nobody_measures_is_a_mistake_and_moves_nothing(champion: SimpleNamespace) -> None:
    with pytest.raises(UsageError, match="needs 'acu', which nothing measured"):
        weigh(champion, "late/2", "acu >= 0.5")


def test_gates_of_an_alias_are_lists_or_tables_by_model() -> None:
    several = {"late": ["auc >= 1"], "*": ["approved"]}
    settings = Settings(gates={"*": ["parity_passed"], "production": several, "staging": ["auc >= 0.5"]})
    assert gates_of("production", "late", settings) == ("parity_passed", "approved", "auc >= 1")
    assert gates_of("production", "fares", settings) == ("parity_passed", "approved")
    assert gates_of("staging", "late", settings) == ("parity_passed", "auc >= 0.5")
    assert gates_of("other", "late", Settings()) == ()
    with pytest.raises(SettingsError, match=r"\[tool.mlnb.gates\] production is no list of gates"):
        gates_of("production", "late", Settings(gates={"production": "auc >= 1"}))


def test_promoting_asks_the_gates_of_the_alias_and_keeps_what_they_found(champion: SimpleNamespace) -> None:
    project = champion.project
    with pytest.raises(GateError, match="approvals is 0, 1 below the limit 1") as caught:
        project.promote("late/1", "production")
    assert len(caught.value.verdicts) == 1
    refused = project.audit.log("late/1")[-1]
    assert (refused.action, refused.detail["alias"]) == ("gate-failed", "production")
    Project(project.root, actor="dora").approve("late/1", "production", reason="fine")
    first = project.promote("late/1", "production")
    assert [verdict.waived for verdict in first.verdicts] == [True, True, False, False]
    Project(project.root, actor="anna").approve("late/2", "production")
    with pytest.raises(GateError, match=r"roc_auc\[origin=LGA\] of late/2") as caught:
        project.promote("late/2", "production")
    assert "approvals is 0" in " ".join(caught.value.verdicts), "anna promotes, so her approval does not count"
    with pytest.raises(UsageError, match="needs a reason"):
        project.promote("late/2", "production", force=True)
    forced = project.promote("late/2", "production", force=True, reason="LGA is closed")
    assert (forced.forced, forced.reason, [one.passed for one in forced.verdicts].count(False)) == (
        True,
        "LGA is closed",
        2,
    )
    kept = project.models.history("late", "production")[-1]
    assert kept.verdicts == forced.verdicts
    assert project.verify().ok


def test_an_alias_that_moves_while_gates_are_judged_is_judged_again(champion: SimpleNamespace) -> None:
    project = champion.project
    project.models.promote("late/1", "race", by="anna")
    asked: list[int] = []

    def judge() -> Judgement:
        found = reconsider(project.models.get("late/3"), "race", "anna", project.bench)
        asked.append(found.held)
        if len(asked) == 1:
            project.models.promote("late/2", "race", by="eve")
        return found

    def act(found: Judgement) -> object:
        return project.models.promote("late/3", "race", by="anna", verdicts=found.verdicts, held=found.held)

    undisturbed(judge, act)
    assert asked == [1, 2]
    assert project.models.aliases("late")["race"] == 3
    with pytest.raises(OvertakenError):
        project.models.promote("late/1", "race", by="anna", held=2)


def test_what_an_older_mlnb_judged_is_still_read(champion: SimpleNamespace) -> None:
    project = champion.project
    verdict = {"gate": "auc >= 0.1", "measured": 0.5, "limit": 0.1, "passed": True, "sentence": "auc is 0.5."}
    project.audit.record("anna", "judge", "late/3", {"evidence": {"auc": 0.5}, "verdicts": [verdict]})
    version = project.models.get("late/3")
    assert judged(version, project.audit)[0] == {"auc": 0.5}
    found = reconsider(version, "old", "anna", project.bench)
    assert (found.mark, found.evidence["auc"], found.passed) == (("auc >= 0.1",), 0.5, True)


PLUGIN = """
from mlnb.registry.gates import Finding


def carbon(name, case):
    grams = {"carbon": 4.0, "carbon.training_kg": 0.5}[name]
    return Finding(grams, f"the meter of {case.version.ref}", f"{case.champion.ref} was before.")
"""
JUDGE = """
import json, sys
from pathlib import Path
from mlnb.judging.judgement import judge_version
from mlnb.project import Project

project = Project(Path(sys.argv[1]), actor="anna")
version, RUN = project.models.get("late/2"), {"carbon": 0.0}
found = judge_version(version, "trial", ("carbon <= 5", "carbon.training_kg <= 0.1"), RUN, "anna", project.bench)
print(json.dumps([[one.passed, one.sentence] for one in found.verdicts]))
"""


def test_a_plug_in_brings_its_own_numbers(champion: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "our_gates.py").write_text(PLUGIN, "utf-8")
    metadata = tmp_path / "our_gates-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: our-gates\nVersion: 1.0\n", "utf-8")
    (metadata / "entry_points.txt").write_text("[mlnb.gates]\ncarbon = our_gates:carbon\n", "utf-8")
    told = subprocess.run(
        [sys.executable, "-c", JUDGE, str(champion.project.root)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    [first, second] = json.loads(told.stdout)
    assert first == [True, "carbon is 4, 1 below the limit 5; measured on the meter of late/2. late/1 was before."]
    assert second[0] is False


def test_a_second_person_approves_and_everybody_can_ask_what_stands_in_the_way(champion: SimpleNamespace) -> None:
    project = champion.project

    def mlnb(*words: str) -> tuple[int, str]:
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(out):
            code = main(["models", *words, "--project", str(project.root)])
        return code, out.getvalue()

    before = project.models.aliases("late")
    code, told = mlnb("judge", "late/3", "production")
    assert code == 3
    assert "approvals is 0, 1 below the limit 1; measured on the approvals of late/3 for production." in told
    code, told = mlnb("approve", "late/3", "production", "--reason", "fine")
    assert (code, told) == (0, f"late/3 is approved for production by {project_user()}\n")
    code, told = mlnb("judge", "late/3", "production", "--json")
    facts = json.loads(told)
    assert (code, facts["passed"], facts["counted"]) == (3, False, [])  # who asks is who approved
    assert [one["by"] for one in facts["approvals"]] == [project_user()]
    assert project.models.aliases("late") == before


def project_user() -> str:
    return subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()


def test_a_truth_that_belongs_to_other_rows_is_refused(champion: SimpleNamespace, tmp_path: Path) -> None:
    version = champion.project.models.get("late/2")
    champion.project.models.unpack(version, tmp_path / "package")
    signature = Signature.from_json(version.signature)
    known = packaged_rows(tmp_path / "package", signature, "late/2")
    assert known is not None
    assert known.truth.tolist() == champion.truth.tolist()
    write_truth(tmp_path / "package", champion.truth[:-1], "split.y_test")
    with pytest.raises(CorruptError, match=r"truth\.json has other rows than sample\.json"):
        packaged_rows(tmp_path / "package", signature, "late/2")
    (tmp_path / "package" / "truth.json").unlink()
    assert packaged_rows(tmp_path / "package", signature, "late/2") is None


def test_versions_that_answer_other_questions_are_not_compared(champion: SimpleNamespace) -> None:
    known = Signature.from_json(champion.project.models.get("late/2").signature)
    check_alike(("late/1", known), ("late/2", known))
    with pytest.raises(UsageError, match=r"late/2 tells the classes 'no', 'yes' apart, late/1 0, 1, so their answers"):
        check_alike(("late/1", known), ("late/2", replace(known, classes=("no", "yes"))))
    with pytest.raises(UsageError, match="late/2 is a regressor and late/1 a classifier"):
        check_alike(("late/1", known), ("late/2", replace(known, task="regressor", classes=())))
