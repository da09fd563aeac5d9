"""What verification cannot prevent it says: who can write there, and which moves the policy does not bear."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlnb.project import Project
from mlnb.registry.audit import Audit
from mlnb.registry.exposure import departures, exposure, writers
from mlnb.registry.policy import EVERYBODY, read_policy
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger

ME = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
GROUP = subprocess.run(["id", "-gn"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("mode", "who"),
    [
        (0o600, (ME,)),
        (0o644, (ME,)),
        (0o664, (ME, f"the group {GROUP}")),
        (0o666, (ME, f"the group {GROUP}", "everybody")),
    ],
)
def test_the_permissions_say_who_can_write(tmp_path: Path, mode: int, who: tuple[str, ...]) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"")
    path.chmod(mode)
    assert writers([path, tmp_path / "nothing"]) == who


def test_what_a_writer_can_do_is_said_plainly(tmp_path: Path) -> None:
    [sentence] = exposure("ledger.db", [tmp_path])
    assert sentence.startswith(f"Whoever can write to ledger.db ({ME}) can rewrite the whole log, digests included")
    assert "not sign it with another's key" in sentence


def test_verify_names_moves_that_the_present_policy_does_not_bear(
    ledger: Ledger, store: FileStore, audit: Audit, draft: Callable[..., Draft]
) -> None:
    strict = read_policy({"production": {"promote": ["anna"], "approvals": 1}})
    Registry(ledger, store).register(draft("a", by="dora"))
    Registry(ledger, store).promote("delays/1", "production", by="mallory")  # the policy was taken away for that
    found = departures(strict, audit.log())
    assert found == (
        "1 move of aliases came under another policy than that of pyproject.toml now (row 2).",
        "The policy as it is now would have refused row 2, promote of delays@production to delays/1: mallory may not "
        "promote to production: [tool.mlnb.policy.production] promote names anna.",
    )
    assert departures(EVERYBODY, audit.log()) == ()


def test_moves_that_the_policy_bears_are_not_named(
    ledger: Ledger, store: FileStore, audit: Audit, draft: Callable[..., Draft]
) -> None:
    policy = read_policy({"production": {"promote": ["anna"], "approvals": 1}})
    registry = Registry(ledger, store, policy=policy)
    for content in "ab":
        registry.register(draft(content, by="dora"))
        ref = f"delays/{'ab'.index(content) + 1}"
        registry.approve(ref, "production", by="bert")
        registry.promote(ref, "production", by="anna")
    registry.rollback("delays", "production", by="anna")
    assert departures(policy, audit.log()) == ()


def test_a_project_s_report_says_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.mlnb.policy.production]\npromote = ["anna"]\n', "utf-8")
    report = Project(tmp_path).verify()
    assert report.ok
    assert any(note.startswith("Whoever can write to ledger.db") for note in report.notes)


def test_ci_can_make_a_move_that_the_policy_does_not_bear_a_fault(tmp_path: Path) -> None:
    settings = tmp_path / "pyproject.toml"
    settings.write_text("[tool.mlnb]\n", "utf-8")
    loose = Project(tmp_path, actor="mallory")
    digest, _ = loose.state.files.put(b"{}")
    loose.models.register(Draft("late", "dora", "onnx", {"package.json": digest}))
    loose.models.promote("late/1", "production", by="mallory")
    settings.write_text('[tool.mlnb.policy.production]\npromote = ["anna"]\n', "utf-8")
    verify = [sys.executable, "-m", "mlnb", "audit", "verify", "--json", "--project", str(tmp_path)]
    told = [subprocess.run([*verify, *more], capture_output=True, text=True) for more in ([], ["--policy"])]
    plain, strict = (json.loads(one.stdout) for one in told)
    assert [one.returncode for one in told] == [0, 1]
    assert (plain["ok"], strict["ok"], strict["first_bad"]) == (True, False, 2)
    assert "mallory may not promote to production" in strict["faults"][0]
    assert strict["faults"][0] in plain["notes"]
