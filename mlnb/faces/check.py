"""One thing that the doctor looked at becomes a line: well or not, what was found, what to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and what to do if it is not as it should be."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
