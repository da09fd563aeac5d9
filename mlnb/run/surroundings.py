"""The machine becomes a few facts of lineage: the git commit, the installed distributions."""

from __future__ import annotations

import os
import re
import subprocess
from importlib.metadata import Distribution, distributions
from pathlib import Path

_GIT_TIMEOUT_S = 30
_NAMED = re.compile("(Name|Version): ")


def git_state(folder: Path) -> tuple[str, bool]:
    """Return the commit that `folder` is at and whether its working tree differs; ``("", False)`` without git."""
    commit = _git(folder, "rev-parse", "HEAD").strip()
    return commit, bool(commit and _git(folder, "status", "--porcelain"))


def git_file(folder: Path, commit: str, path: str) -> str:
    """Return the text that a file below `folder` had at a commit, without blank ends; ``""`` where git has none."""
    return _git(folder, "show", f"{commit}:./{path}").replace("\r\n", "\n").strip()


def git_difference(folder: Path, commit: str, *, without: str) -> str:
    """Return how the working tree that `folder` is in differs from a commit, as a patch that ``git apply`` takes.

    Parameters
    ----------
    without : str
        A file of the folder that is left out, because its bytes are kept elsewhere: a notebook's outputs are large.

    Notes
    -----
    Files that git does not know are not in it. The repository's own programs for showing files are not started.
    """
    plain = ("--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
    return _git(folder, "diff", *plain, commit, "--", ":/", f":(exclude,literal){without}")


def git_follows(folder: Path, commit: str) -> bool:
    """Say whether what `folder` is at comes after a commit, or is it."""
    return bool(commit) and _git(folder, "merge-base", commit, "HEAD").strip() == commit


def git_changed(folder: Path, *paths: str) -> bool:
    """Say whether files below `folder` differ from its commit; those that git does not know are not looked at."""
    return bool(_git(folder, "status", "--porcelain", "--untracked-files=no", "--", *paths))


def environment_lock() -> bytes:
    """Return ``name==version`` of every installed distribution, sorted, one a line."""
    found: dict[str, str] = {}
    for distribution in distributions():
        name, version = _name_and_version(distribution)
        found.setdefault(name, version)  # of two, Python imports the first on its path
    return "".join(sorted(f"{name}=={version}\n" for name, version in found.items() if name)).encode()


def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    """Read two lines of the metadata; parsing all of it as mail costs ten times as much."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    fields = dict(line.split(": ", 1) for line in text.partition("\n\n")[0].splitlines() if _NAMED.match(line))
    return fields.get("Name", "").lower().replace("_", "-"), fields.get("Version", "")


def _git(folder: Path, *arguments: str) -> str:
    """Return what git prints, to the byte: a patch without its last blank line is none."""
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments],
            capture_output=True,
            check=False,
            timeout=_GIT_TIMEOUT_S,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else ""
