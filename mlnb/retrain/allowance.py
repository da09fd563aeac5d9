"""Terms and when the retrainings before began become when the next one may begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlnb.retrain.terms import Terms, spell


@dataclass(frozen=True, slots=True)
class Held:
    """What keeps triggers waiting: until when, and why in one sentence."""

    until: datetime
    why: str


def held(terms: Terms, begun: Sequence[datetime], at: datetime) -> Held | None:
    """Return what keeps a retraining from beginning at a time; None where nothing does.

    Parameters
    ----------
    begun : sequence of datetime
        When those of the model began, the oldest first. Those that a person asked for count as well.
    """
    found = []
    if terms.cool_down and begun:
        until = begun[-1] + terms.cool_down
        found.append(Held(until, f"The cool-down of {spell(terms.cool_down)} lasts until {_shown(until)}."))
    budget = terms.budget
    if budget is not None and len(begun) >= budget.runs:
        until = begun[-budget.runs] + budget.period
        found.append(Held(until, f"The budget of {budget} is used until {_shown(until)}."))
    return max((one for one in found if one.until > at), key=lambda one: one.until, default=None)


def _shown(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")
