"""The TypeScript passes its own linter, type checker and unit tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BUNDLE = Path(__file__).parents[3] / "labextension" / "bundle.py"


@pytest.mark.timeout(600)
def test_the_front_end_passes_biome_tsc_and_vitest():
    done = subprocess.run(
        [sys.executable, BUNDLE, "--check"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CI": "1", "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "passed" in done.stdout
