"""Stages become results: each in a kernel of its own, through papermill, reused where nothing changed."""
