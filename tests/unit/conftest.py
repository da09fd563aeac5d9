"""What Hypothesis may blame a test for."""

from hypothesis import HealthCheck, settings

# It takes a test or a draw that a busy machine interrupts for a slow or flaky one; no time is a counterexample.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
