"""The messages, their JSON Schema and the TypeScript say the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GENERATOR = Path(__file__).parents[3] / "labextension" / "generate_types.py"


def test_the_schema_and_types_ts_are_what_the_python_classes_say() -> None:
    done = subprocess.run([sys.executable, GENERATOR, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
