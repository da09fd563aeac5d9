"""What moving an alias means for those who call it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mlnb.model.signature import Column, Signature
from mlnb.registry.callers import callers_of
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft

DISTANCE = Signature((Column("distance", "float64"),), "regressor")
WIND = Signature((Column("distance", "float64"), Column("wind", "float64")), "regressor")


def test_callers_are_told_what_breaks_for_them_and_nobody_else(registry: Registry, draft: Callable[..., Draft]) -> None:
    first = registry.register(replace(draft("a"), signature=DISTANCE.to_json()))
    second = registry.register(replace(draft("b"), signature=WIND.to_json()))
    third = registry.register(replace(draft("c"), signature=DISTANCE.to_json()))
    assert callers_of(registry, first, "production").sentence() == ""
    registry.promote(first.ref, "production", by="anna")
    found = callers_of(registry, second, "production")
    assert (found.ref, len(found.broken)) == (first.ref, 1)
    assert found.sentence() == (
        f"Callers of {first.ref} must change: The column 'wind' is new: rows without it are refused."
    )
    assert callers_of(registry, second, "staging").changes == ()
    assert callers_of(registry, third, "production").sentence() == ""
    assert callers_of(registry, first, "production").ref == ""
