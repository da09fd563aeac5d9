"""Versions and a lock become the Dockerfile of a Bento: any builder makes the image out of the Bento's own folder."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.resources import files
from string import Template


def dockerfile(model: str, numbers: Iterable[int], lock: str) -> str:
    """Return the text of a Bento's Dockerfile.

    Parameters
    ----------
    model : str
        Name of the model; a registry's name, which holds no quote and no line break.
    numbers : iterable of int
        The versions that it answers with.
    lock : str
        Its environment; its digests are proved where it has any.
    """
    template = Template((files("mlnb") / "templates" / "service" / "Dockerfile.template").read_text("utf-8"))
    return template.substitute(
        model=model,
        version=" ".join(str(number) for number in sorted(numbers)),
        python=".".join(platform.python_version_tuple()[:2]),
        proved='"--require-hashes", ' if "--hash=" in lock else "",
    )
