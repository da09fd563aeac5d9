"""Answers meet what was learned: predictions of a span against the reference that was frozen with the version."""
