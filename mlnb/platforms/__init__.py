"""Versions leave this machine: one module, or a few, for each platform that takes them."""
