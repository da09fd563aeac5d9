"""A project becomes the systemd unit that retrains it.

References
----------
systemd.service(5), systemd.exec(5), systemd.syntax(7).
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

from mlnb.errors import UsageError
from mlnb.service.exported import filled, quoted


def daemon_unit(root: Path, model: str, every_s: float) -> str:
    """Return the text of a unit that runs the daemon: root's is of the system, anybody else's of their own manager.

    Raises
    ------
    UsageError
        If the folder has a name that a unit cannot hold.
    """
    if not str(root).isprintable():
        raise UsageError(f"The path {str(root)!r} holds a control character.", "Rename the folder.")
    system = os.getuid() == 0
    words = [sys.executable, "-m", "mlnb", "retrain", *([model] if model else []), "--daemon"]
    return filled(
        "retrain.template",
        root=root,
        directory=str(root).replace("%", "%%"),
        place="/etc/systemd/system/mlnb-retrain.service" if system else "~/.config/systemd/user/mlnb-retrain.service",
        scope="" if system else "--user ",
        start=quoted([*words, "--every", f"{every_s:g}", "--project", str(root)]).replace("$", "$$"),
        owner=f"User={pwd.getpwuid(os.getuid()).pw_name}" if system else "",
        wanted_by="multi-user.target" if system else "default.target",
    )
