"""papermill and what it stands on are imported, in half of the time where the process is ours."""

from __future__ import annotations

import logging
import sys

_GRAMMAR = "rfc3987_syntax"


def keep_grammar_out() -> None:
    """Keep the grammar of IRIs out of this process: half of papermill's import.

    nbformat loads it through jsonschema, for a check of formats that notebooks do not have. For our own processes only:
    a user's kernel might want the check.
    """
    if _GRAMMAR not in sys.modules:
        sys.modules[_GRAMMAR] = None  # type: ignore[assignment]  # Python's own way to forbid an import


def load() -> None:
    """Import papermill and what executes with it."""
    import mlnb.run.kernels.session  # noqa: F401

    log = logging.getLogger("papermill")
    if not log.handlers:  # else Python prints what nbclient logs, which we tell ourselves
        log.addHandler(logging.NullHandler())
