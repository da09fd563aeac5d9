"""A version that is to hold an alias meets its gates: what they ask is measured, compared with limits, and told."""
