"""A bounded walk of the machine that acts and tampers; `tests.bench tampering` takes a long one."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.registry.tampering import Tampering

BOUNDED = settings(
    max_examples=6,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_whatever_is_done_past_mlnb_is_found() -> None:
    run_state_machine_as_test(Tampering, settings=BOUNDED)
