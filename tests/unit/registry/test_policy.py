"""Who may move an alias: read from pyproject.toml, asked inside the transaction, never overridden."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.errors import PolicyError, SettingsError
from mlnb.identity import Identity
from mlnb.registry.audit import Audit
from mlnb.registry.gates import judge, parse_gate
from mlnb.registry.policy import EVERYBODY, Act, approvers, read_policy
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger

DraftMaker = Callable[..., Draft]
RULES: Mapping[str, object] = {
    "production": {"promote": ["anna", "github:octo*"], "approve": ["bert", "carla"], "force": [], "approvals": 1},
    "*": {"promote": ["anna", "mallory"]},
}
FAILED = judge([parse_gate("auc >= 0.80")], {"auc": 0.731})


@pytest.fixture
def ruled(ledger: Ledger, store: FileStore, draft: DraftMaker) -> Registry:
    registry = Registry(ledger, store, policy=read_policy(RULES))
    registry.register(draft("a", by="dora"))
    registry.register(draft("b", by="anna"))
    return registry


@dataclass(frozen=True)
class Given:
    by: str


def act(kind: str, by: str, alias: str = "production", **more: object) -> Act:
    return Act(kind, "delays", alias, 1, by, "dora", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "by", "alias", "problem"),
    [
        ("promote", "mallory", "production", "mallory may not promote to production: [tool.mlnb.policy.production]"),
        ("promote", "claimed:anna (os runner)", "production", "claimed:anna (os runner) may not promote to production"),
        ("rollback", "mallory", "production", "mallory may not roll back production"),
        ("rollback", "anna", "production", ""),
        ("rollback", "github:octocat (os runner)", "production", ""),
        ("traffic", "mallory", "production", "mallory may not change the traffic of production"),
        ("approve", "anna", "production", "anna may not approve for production"),
        ("approve", "dora", "staging", "dora cannot approve delays/1, which dora registered"),
        ("approve", "jupyter:dora (os hub)", "staging", "which dora registered"),
        ("promote", "mallory", "staging", ""),
        ("promote", "eve", "staging", "[tool.mlnb.policy.*] promote names anna, mallory."),
    ],
)
def test_who_may_do_what_is_what_the_table_says(kind: str, by: str, alias: str, problem: str) -> None:
    found = read_policy(RULES).refusal(act(kind, by, alias))
    assert (problem in found) if problem else (found == "")


def test_without_rules_everybody_may_do_everything_but_approve_their_own() -> None:
    assert {EVERYBODY.refusal(act(kind, "eve")) for kind in ("promote", "rollback", "traffic", "approve")} == {""}
    assert EVERYBODY.digest == ""
    assert "second person" in EVERYBODY.refusal(act("approve", "DORA"))


@pytest.mark.parametrize(
    ("name", "by", "may"),
    [
        ("github:renovate[bot]", "github:renovate[bot] (os runner)", True),
        ("github:renovate[bot]", "github:renovateb (os runner)", False),
        ("github:*[bot]", "github:dependabot[bot] (os runner)", True),
        ("ann?", "anna", False),
        ("a*a", "anna", True),
        ("a.na", "anna", False),
    ],
)
def test_nothing_but_a_star_stands_for_other_letters(name: str, by: str, may: bool) -> None:
    found = read_policy({"*": {"promote": [name]}}).refusal(act("promote", by))
    assert (found == "") is may


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"production": ["anna"]}, r"has a key 'production' that is no table"),
        ({"production": {"promot": ["anna"]}}, r"has an unknown key 'promot'"),
        ({"production": {"promote": "anna"}}, r"promote is no list of names"),
        ({"production": {"promote": [1]}}, r"promote is no list of names"),
        ({"production": {"approvals": True}}, r"approvals is True"),
        ({"production": {"approvals": -1}}, r"approvals is -1"),
    ],
)
def test_a_policy_that_cannot_be_read_allows_nothing(table: Mapping[str, object], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        read_policy(table)


PEOPLE = st.builds(
    Identity,
    st.sampled_from("abc"),
    st.sampled_from(["", "claimed", "github", "jupyter"]),
    st.sampled_from(["", "r", "s"]),
).map(str)


@given(st.lists(PEOPLE, max_size=8), PEOPLE, PEOPLE)
def test_no_approval_counts_twice_nor_of_who_registers_or_promotes(
    given_by: list[str], by: str, registrar: str
) -> None:
    counted = [Identity.parse(one) for one in approvers(map(Given, given_by), by, registrar)]
    others = [Identity.parse(by), Identity.parse(registrar)]
    for place, one in enumerate(counted):
        assert str(one) in given_by
        assert not any(one.name.casefold() == other.name.casefold() for other in [*others, *counted[:place]])


def test_the_registry_refuses_whoever_calls_it_and_writes_that_down(ruled: Registry, audit: Audit) -> None:
    with pytest.raises(PolicyError, match="mallory may not promote to production") as caught:
        ruled.promote("delays/1", "production", by="mallory", reason="now", force=True)
    assert (caught.value.actor, caught.value.alias, caught.value.exit_code) == ("mallory", "production", 3)
    assert ruled.aliases("delays") == {}
    [refused] = audit.log(last=1)
    assert (refused.actor, refused.action, refused.subject) == ("mallory", "policy-refused", "delays/1")
    assert refused.detail["policy"] == read_policy(RULES).digest
    assert audit.verify().ok


def test_a_version_needs_the_approval_of_a_second_person(ruled: Registry, audit: Audit) -> None:
    with pytest.raises(PolicyError, match=r"delays/1 has 0 of the 1 approvals that production needs"):
        ruled.promote("delays/1", "production", by="anna")
    ruled.approve("delays/1", "staging", by="mallory")  # for another alias: no rule names who approves there
    with pytest.raises(PolicyError, match="0 of the 1"):
        ruled.promote("delays/1", "production", by="anna")
    with pytest.raises(PolicyError, match="dora may not approve for production"):
        ruled.approve("delays/1", "production", by="dora")
    ruled.approve("delays/1", "production", by="bert", reason="looked at the slices")
    moved = ruled.promote("delays/1", "production", by="anna")
    assert moved.to_ref == "delays/1"
    assert audit.log(last=1)[0].detail["policy"] == read_policy(RULES).digest
    assert [(one.by, one.reason) for one in ruled.approvals("delays/1", "production")] == [
        ("bert", "looked at the slices")
    ]
    assert audit.verify().ok


def test_force_overrides_a_gate_and_not_the_policy(ruled: Registry) -> None:
    ruled.approve("delays/1", "production", by="bert")
    with pytest.raises(PolicyError, match=r"anna may not override a gate of production: .* force names nobody"):
        ruled.promote("delays/1", "production", by="anna", verdicts=FAILED, force=True, reason="in a hurry")
    forced = ruled.promote("delays/1", "staging", by="anna", verdicts=FAILED, force=True, reason="in a hurry")
    assert forced.forced
