"""papermill and what it stands on are imported, and its log kept from printing what we tell ourselves."""

from __future__ import annotations

import logging


def load() -> None:
    """Import papermill and what executes with it."""
    import mlnb.run.kernels.session  # noqa: F401

    log = logging.getLogger("papermill")
    if not log.handlers:  # else Python prints what nbclient logs, which we tell ourselves
        log.addHandler(logging.NullHandler())
