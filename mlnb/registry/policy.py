"""``[tool.mlnb.policy.<alias>]`` becomes a `Policy`: who may move an alias, and whose approval that needs.

::

    [tool.mlnb.policy.production]         # or "*", for every alias without a table of its own
    promote = ["anna", "github:octocat"]  # who may promote; everybody where it is not said
    rollback = ["*"]                      # who may roll back; as `promote` where it is not said
    traffic = ["anna"]                    # who may give a version a share of its callers; as `promote`
    approve = ["bert", "jupyter:*"]       # who may approve
    force = []                            # who may override a failed gate, of those who may promote
    approvals = 1                         # of people who neither registered the version nor promote (or split) it

A name is written as `mlnb.identity` does; ``*`` stands for any letters. It is looked at inside the transaction of the
act, whoever asks: no face, no CI job and no script of ours goes around it. Unlike a gate it cannot be overridden by
force. Each act keeps the digest of the policy that it was done under, because whoever may edit pyproject.toml may edit
this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mlnb.errors import SettingsError
from mlnb.identity import Identity
from mlnb.registry.canonical import digest_of
from mlnb.registry.reference import hint

EVERY_ALIAS = "*"
_LISTS = ("promote", "rollback", "traffic", "approve", "force")
_APPROVALS = "approvals"
_DOING = {
    "promote": "promote to",
    "rollback": "roll back",
    "traffic": "change the traffic of",
    "approve": "approve for",
}


class Approving(Protocol):
    """What is counted of an approval."""

    @property
    def by(self) -> str:
        """Who approved."""


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody is about to do.

    Attributes
    ----------
    kind : str
        ``promote``, ``rollback``, ``traffic`` or ``approve``.
    model, alias : str
        Of what.
    number : int
        The version that the alias would point to, or that is approved.
    by : str
        Who does it.
    registered_by : str
        Who registered the version.
    forced : bool
        Whether a failed gate is overridden.
    approvals : tuple of Approving
        Of this version for this alias.
    """

    kind: str
    model: str
    alias: str
    number: int
    by: str
    registered_by: str
    forced: bool = False
    approvals: tuple[Approving, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for one alias: names by what they may do; what is not there, everybody may."""

    who: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    approvals: int = 0

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {**{key: list(names) for key, names in self.who.items()}, _APPROVALS: self.approvals}


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules by alias; none let everybody do everything but approve what they have registered themselves.

    Attributes
    ----------
    rules : mapping of str to Rule
        By alias, ``*`` for those that have none.
    """

    rules: Mapping[str, Rule] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Return the digest of the rules; empty where there are none."""
        return digest_of({alias: rule.to_json() for alias, rule in self.rules.items()}) if self.rules else ""

    def rule(self, alias: str) -> Rule:
        """Return the rule of an alias."""
        return self.rules.get(alias) or self.rules.get(EVERY_ALIAS) or Rule()

    def refusal(self, act: Act) -> str:
        """Return the sentence that says why an act is refused; empty where it is allowed."""
        if not self.rules and act.kind != "approve":
            return ""
        rule, place = self.rule(act.alias), self._place(act.alias)
        actor = Identity.parse(act.by)
        listed = act.kind if act.kind in rule.who or act.kind == "approve" else "promote"
        if not _matches(actor, rule.who.get(listed)):
            return f"{actor} may not {_DOING[act.kind]} {act.alias}: {place} {listed} names {_told(rule.who[listed])}."
        if act.kind == "approve" and actor.may_be(Identity.parse(act.registered_by)):
            return (
                f"{actor} cannot approve {act.model}/{act.number}, which {act.registered_by} registered: "
                "an approval is a second person's."
            )
        if act.kind not in ("promote", "traffic"):
            return ""
        if act.forced and not _matches(actor, rule.who.get("force")):
            return f"{actor} may not override a gate of {act.alias}: {place} force names {_told(rule.who['force'])}."
        count = len(approvers(act.approvals, act.by, act.registered_by))
        if count < rule.approvals:
            return (
                f"{act.model}/{act.number} has {count} of the {rule.approvals} approvals that {act.alias} needs "
                f"({place}), of people who neither registered it ({act.registered_by}) nor promote it ({actor})."
            )
        return ""

    def _place(self, alias: str) -> str:
        return f"[tool.mlnb.policy.{alias if alias in self.rules else EVERY_ALIAS}]"


EVERYBODY = Policy()
"""No rules: what holds where nothing is configured."""


def approvers(approvals: Iterable[Approving], by: str, registered_by: str) -> tuple[str, ...]:
    """Return who counts as a second person: everybody once, without who registers and who promotes.

    Parameters
    ----------
    approvals : iterable of Approving
        Of one version for one alias, the oldest first.
    by : str
        Who promotes; empty where nobody does yet.
    registered_by : str
        Who registered the version.
    """
    counted = [Identity.parse(one) for one in (registered_by, by) if one]
    kept = len(counted)
    for approval in approvals:
        approver = Identity.parse(approval.by)
        if not any(approver.may_be(one) for one in counted):
            counted.append(approver)
    return tuple(str(one) for one in counted[kept:])


def read_policy(table: Mapping[str, object]) -> Policy:
    """Return what ``[tool.mlnb.policy]`` says.

    Raises
    ------
    SettingsError
        If a key is unknown or a value is not what the key takes; nothing is allowed then.
    """
    return Policy({alias: _rule(alias, dict(_entries(alias, rule))) for alias, rule in table.items()})


def _entries(alias: str, rule: object) -> Iterator[tuple[str, object]]:
    if not isinstance(rule, Mapping):
        place = "[tool.mlnb.policy]"
        raise SettingsError(
            f"{place} has a key {alias!r} that is no table.", f"Write [tool.mlnb.policy.{alias}].", key=alias
        )
    yield from rule.items()


def _rule(alias: str, entries: Mapping[str, object]) -> Rule:
    place = f"[tool.mlnb.policy.{alias}]"
    who: dict[str, tuple[str, ...]] = {}
    approvals = 0
    for key, value in entries.items():
        if key == _APPROVALS:
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise SettingsError(f"{place} approvals is {value!r}.", "Give a whole number: approvals = 1.", key=key)
            approvals = value
        elif key not in _LISTS:
            remedy = hint(key, (*_LISTS, _APPROVALS))
            raise SettingsError(f"{place} has an unknown key {key!r}.", remedy, key=key)
        elif isinstance(value, list) and all(isinstance(name, str) and name for name in value):
            who[key] = tuple(value)
        else:
            raise SettingsError(f"{place} {key} is no list of names.", f'Write {key} = ["anna"].', key=key)
    return Rule(who, approvals)


def _matches(actor: Identity, names: tuple[str, ...] | None) -> bool:
    return names is None or any(re.fullmatch(_pattern(name), actor.spelled, re.S) for name in names)


def _pattern(name: str) -> str:
    """Return a name as a regular expression; nothing but ``*`` stands for other letters: ``github:renovate[bot]``."""
    return ".*".join(map(re.escape, name.split("*")))


def _told(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nobody"
