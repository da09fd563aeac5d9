"""What a person should know once becomes one line on standard error, however many kernels it concerns."""

from __future__ import annotations

import sys
from functools import cache


@cache
def say_once(sentence: str) -> None:
    """Say it, if this process has not said it before."""
    print(f"mlnb: {sentence}", file=sys.stderr)
