"""The command line as a person, a script and a shell use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = [
    "sklearn",
    "pandas",
    "numpy",
    "papermill",
    "bentoml",
    "plotly",
    "onnxruntime",
    "skl2onnx",
    "IPython",
    "sqlalchemy",
    "pyarrow",
    "nbformat",
    "nbclient",
    "rich",
    "ipywidgets",
    "jupyter_client",
    "mlnb.project",
    "mlnb.run",
    "mlnb.registry",
    "mlnb.pipeline",
    "mlnb.service",
    "mlnb.monitor",
]


def _loaded(*statements: str) -> set[str]:
    code = "\n".join([*statements, "import sys, json", "print('\\n' + json.dumps(sorted(sys.modules)))"])
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_mlnb_loads_nothing_heavy():
    assert not _loaded("import mlnb") & {*HEAVY, "click"}


def test_the_help_loads_no_part_of_the_project():
    assert not _loaded("from mlnb.faces.cli import main", "main(['--help'])") & set(HEAVY)


def test_the_help_names_every_verb_in_the_order_of_the_road(mlnb):
    ran = mlnb("--help")
    listed = [
        line.split()[0]
        for line in ran.out.partition("Commands:")[2].partition("Complete")[0].splitlines()
        if line.strip()
    ]
    verbs = [
        "plan",
        "run",
        "test",
        "verify",
        "deploy",
        "promote",
        "rollback",
        "predict",
        "monitor",
        "retrain",
        "doctor",
        "runs",
        "models",
        "services",
        "audit",
    ]
    assert [word for word in listed if word in verbs] == verbs
    assert ran.code == 0


@pytest.mark.parametrize("word", ["export"])
def test_a_verb_that_is_not_there_yet_is_not_offered(mlnb, word):
    assert mlnb(word).code == 2
    assert f"  {word} " not in mlnb("--help").out


def test_a_misspelt_verb_gets_a_suggestion_and_exit_code_2(mlnb):
    ran = mlnb("rnu", "nb.ipynb")
    assert (ran.code, ran.out) == (2, "")
    assert "rnu" in ran.err and "'run'" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "words", [("run",), ("run", "a.ipynb", "--sideways"), ("predict", "delays/1"), ("models", "sho")]
)
def test_wrong_usage_is_two_sentences_and_exit_code_2(mlnb, words):
    ran = mlnb(*words)
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.strip().splitlines()) == 2


def test_with_json_an_error_is_an_object_on_standard_output(mlnb, tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
    ran = mlnb("models", "show", "delays/1", "--json")
    error = ran.json()["error"]
    assert ran.code == 2 and ran.err == ""
    assert error["type"] == "RegistryError"
    assert error["model"] == "delays"
    assert error["problem"].endswith(".") and error["remedy"].endswith(".")


def test_without_words_the_help_is_shown_and_the_exit_code_says_usage(mlnb):
    ran = mlnb()
    assert ran.code == 2
    assert "Usage: mlnb" in ran.out


def test_quiet_says_nothing_but_the_exit_code(mlnb, registered):
    assert mlnb("models", "list", "-q") == type(mlnb("--version"))(0, "", "")


def test_project_points_elsewhere(mlnb, registered, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    listed = mlnb("models", "list", "--json", "--project", str(registered), cwd=elsewhere).json()
    assert [one["ref"] for one in listed] == ["delays/1", "delays/2", "delays/3"]
    assert list(elsewhere.iterdir()) == []


def test_a_reader_that_goes_away_is_no_error(registered):
    script = f"{sys.executable} -P -m mlnb models list | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], cwd=registered, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode == 0


def test_models_are_listed_with_aliases_and_metrics(mlnb, registered):
    lines = mlnb("models", "list").out.splitlines()
    assert lines[0].split() == ["version", "aliases", "metrics", "exporter", "created"]
    assert lines[2].split()[:5] == ["delays/2", "production", "auc", "0.72", "onnx"]


ROWS = [{"distance": 100.0, "carrier": "AA"}, {"distance": 800.0, "carrier": "UA"}]


@pytest.mark.parametrize(
    "given",
    [{"rows": ROWS}, {"columns": ["carrier", "distance"], "data": [["AA", 100.0], ["UA", 800.0]]}, ROWS],
    ids=["rows", "columns", "bare"],
)
def test_predict_scores_rows_in_every_shape(mlnb, registered, given):
    answer = mlnb("predict", "delays@production", "--rows", json.dumps(given), "--json").json()
    assert answer["predictions"] == [False, True]
    assert answer["version"] == "delays/2"
    assert all(abs(sum(row) - 1) < 1e-6 for row in answer["probabilities"])


def test_predict_reads_a_file_and_the_standard_input(mlnb, registered):
    (registered / "rows.json").write_text(json.dumps({"rows": ROWS}))
    from_file = mlnb("predict", "delays/1", "rows.json").out
    assert [line.split()[0] for line in from_file.splitlines()] == ["prediction", "False", "True"]
    assert mlnb("predict", "delays/1", "-", stdin=json.dumps({"rows": ROWS})).out == from_file


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--rows", "{"), "JSON"),
        (("--rows", '{"rows": 3}'), "rows"),
        (("--rows", '{"columns": ["a"], "data": [[1, 2]]}'), "rows"),
        (("--rows", '{"rows": [{"distance": 1.0}]}'), "carrier"),
        (("--rows", '{"rows": [{"distance": "far", "carrier": "AA"}]}'), "distance"),
        (("no-such.json",), "no-such.json"),
        ((), "--rows"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused_by_name(mlnb, registered, words, named):
    ran = mlnb("predict", "delays/1", *words)
    assert ran.code == 2 and ran.out == ""
    assert named in ran.err and "Traceback" not in ran.err


def test_a_version_tells_exporter_parity_signature_lineage_and_verdicts(mlnb, registered):
    told = mlnb("models", "show", "delays@production", "--json").json()
    assert told["ref"] == "delays/2"
    assert told["exporter"] == "onnx"
    assert told["parity"] == {"rows": 100, "max_abs": 1e-7, "flips": 0}
    assert [column["name"] for column in told["signature"]["inputs"]] == ["distance", "carrier"]
    assert told["lineage"]["parameters"] == {"x": 1}
    assert told["evidence"] == {"auc": 0.72}
    assert [verdict["passed"] for verdict in told["verdicts"]] == [True]
    text = mlnb("models", "show", "delays/2").out
    assert "distance float64" in text and "auc 0.72" in text and "notebook: nb.ipynb" in text


def test_a_card_is_markdown(mlnb, registered):
    text = mlnb("models", "card", "delays/3").out
    assert text.startswith("# Model card: delays/3\n")
    assert "| auc | 0.6 |" in text
    assert "| FAILED | " in text
    assert mlnb("models", "card", "delays/3", "--json").json()["markdown"] == text


def test_lineage_is_told_for_itself(mlnb, registered):
    assert mlnb("models", "lineage", "delays/1", "--json").json()["notebook_digest"] == "sha256:00"
    assert "run: r1" in mlnb("models", "lineage", "delays/1").out


def test_promote_moves_the_alias_and_rollback_moves_it_back(mlnb, registered):
    moved = mlnb("promote", "delays/1", "challenger", "--reason", "to compare", "--json").json()
    assert (moved["from"], moved["to"], moved["reason"]) == ("", "delays/1", "to compare")
    lines = mlnb("promote", "delays/2", "challenger").out.splitlines()
    assert lines[0] == "challenger: delays/1 -> delays/2"
    assert "✓" in lines[1] and "0.72" in lines[1]
    assert mlnb("rollback", "delays", "challenger").out.startswith("challenger: delays/2 -> delays/1")
    assert mlnb("promote", "delays/1", "challenger").out == "challenger is delays/1 already\n"


def test_a_failed_gate_has_exit_code_3_and_names_the_numbers(mlnb, registered):
    ran = mlnb("promote", "delays/3", "production")
    assert ran.code == 3
    assert "0.6" in ran.err and "0.7" in ran.err
    verdicts = mlnb("promote", "delays/3", "production", "--json").json()["error"]["verdicts"]
    assert len(verdicts) == 1 and "auc" in verdicts[0]
    assert mlnb("promote", "delays/3", "production", "--force", "--reason", "a test").code == 0


def test_the_audit_log_is_told_and_verified(mlnb, registered):
    mlnb("promote", "delays/1", "challenger", "--reason", "to compare")
    last = mlnb("audit", "log", "--json").json()[-1]
    assert last["action"] == "promote" and last["detail"]["reason"] == "to compare"
    assert "to compare" in mlnb("audit", "log").out
    ran = mlnb("audit", "verify")
    assert ran.code == 0 and "intact" in ran.out


def test_a_changed_audit_log_has_exit_code_1(mlnb, registered):
    import sqlite3

    mlnb("audit", "verify")
    with sqlite3.connect(registered / ".mlnb" / "ledger.db") as connection:
        connection.execute("UPDATE audit SET actor = 'eve' WHERE id = 2")
    connection.close()
    ran = mlnb("audit", "verify", "--json")
    assert ran.code == 1
    assert ran.json()["first_bad"] == 2


def test_looking_for_a_project_makes_none(mlnb, tmp_path):
    ran = mlnb("runs", "list")
    assert ran.code == 2
    assert f"There is no mlnb project at or above {tmp_path}." in ran.err
    assert "--project" in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("runs", "list"), ("models", "list"), ("services", "list"), ("audit", "log")])
def test_an_empty_project_says_that_there_is_nothing(mlnb, tmp_path, words):
    (tmp_path / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
    ran = mlnb(*words)
    assert ran.code == 0 and len(ran.out.splitlines()) == 1
    assert mlnb(*words, "--json").json() == []


@pytest.mark.parametrize(
    "words",
    [
        ("runs", "show", "no-such"),
        ("runs", "logs", "no-such"),
        ("services", "stop", "no-such"),
        ("models", "show", "no-such/1"),
    ],
)
def test_what_is_not_there_is_refused_by_name(mlnb, tmp_path, words):
    (tmp_path / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
    ran = mlnb(*words)
    assert ran.code == 2
    assert "no-such" in ran.err and "Traceback" not in ran.err


def test_doctor_looks_at_everything_and_trusts_a_key(mlnb, tmp_path):
    checks = {check["name"]: check for check in mlnb("doctor", "--json").json()}
    assert {"python", "kernel", "browser", "keys", "state"} <= set(checks)
    assert checks["python"]["ok"] and checks["kernel"]["ok"] and checks["keys"]["ok"]
    other = mlnb("doctor", "--json", env={"JUPYTER_DATA_DIR": str(tmp_path / "colleague")}).json()
    theirs = Path(next(check["found"] for check in other if check["name"] == "keys").split(" to give")[0])
    ran = mlnb("doctor", "--trust", str(theirs))
    assert ran.code == 0 and "is trusted from now on" in ran.out
    keys = next(check["found"] for check in mlnb("doctor", "--json").json() if check["name"] == "keys")
    assert keys.endswith("; 1 of others trusted")


def test_doctor_refuses_a_file_that_is_no_key(mlnb, tmp_path):
    (tmp_path / "key.pub").write_text("not a key")
    ran = mlnb("doctor", "--trust", "key.pub")
    assert ran.code == 2 and "key.pub" in ran.err


def _completions(folder: Path, *words: str) -> list[str]:
    environ = {
        **os.environ,
        "_MLNB_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["mlnb", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import sys; from mlnb.faces.cli import main; sys.exit(main())"],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("pro",), ["promote"]),
        (("promote", "delays/"), ["delays/1", "delays/2", "delays/3"]),
        (("promote", "delays@"), ["delays@production", "delays@staging"]),
        (("promote", "delays/1", "st"), ["staging"]),
        (("rollback", "d"), ["delays"]),
        (("run", ""), ["nb.ipynb", "sub/"]),
        (("models", "l"), ["list", "lineage"]),
    ],
)
def test_the_shell_completes_verbs_versions_aliases_and_notebooks(registered, typed, offered):
    (registered / "nb.ipynb").write_text("{}")
    (registered / "notes.txt").write_text("")
    (registered / "sub").mkdir()
    assert _completions(registered, *typed) == offered


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("run", "nb.ipynb", "--from", ""), ["load", "train", "lost"]),
        (("run", "nb.ipynb", "--until", "load,t"), ["load,train"]),
        (("plan", "nb.ipynb", "--why", "lo"), ["load", "lost"]),
        (("run", "--only", "lo"), ["load", "lost"]),
        (("run", "missing.ipynb", "--from", ""), [""]),
    ],
)
def test_the_shell_completes_the_stages_of_the_notebook(write_notebook, tmp_path, monkeypatch, typed, offered):
    write_notebook("%%stage load\nx = 1", "%%stage train\ny = x", "%%stage lost\nz = 1")
    if "nb.ipynb" not in typed:
        monkeypatch.setenv("JPY_SESSION_NAME", "nb.ipynb")
    assert _completions(tmp_path, *typed) == offered
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nb.ipynb"]


def test_completion_does_not_make_a_project(tmp_path):
    assert _completions(tmp_path, "promote", "") == [""]
    assert list(tmp_path.iterdir()) == []
