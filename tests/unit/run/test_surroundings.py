"""What git tells of a folder is kept to the byte."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mlnb.run.surroundings import git_difference, git_file, git_state


def git(folder: Path, *words: str, told: str = "") -> None:
    told_by = ["git", "-c", "user.name=ada", "-c", "user.email=a@b.c", "-c", "core.autocrlf=false", "-C", str(folder)]
    subprocess.run([*told_by, *words], check=True, capture_output=True, input=told.encode("utf-8", "surrogateescape"))


def test_a_difference_is_a_patch_that_git_takes_whatever_its_lines_end_with(tmp_path: Path) -> None:
    texts = {
        "ends.py": b"a = 1\n\n\n\n",
        "crlf.py": b"x = 1\r\ny = 2\r\n",
        "odd.py": b"s = '\xff\x0c\xc2\x85'\nz = 1\n",
    }
    changed = {
        "ends.py": b"a = 2\n\n\n\n",
        "crlf.py": b"x = 1\r\ny = 3  \r\n",
        "odd.py": b"s = '\xfe\x0c\xc2\x85'\nz = 2\n",
    }
    for name, content in texts.items():
        (tmp_path / name).write_bytes(content)
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "diff.noprefix", "true")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "first")
    for name, content in changed.items():
        (tmp_path / name).write_bytes(content)
    commit, dirty = git_state(tmp_path)
    patch = git_difference(tmp_path, commit, without="nb.ipynb")
    assert dirty and git_file(tmp_path, commit, "crlf.py") == "x = 1\ny = 2"
    git(tmp_path, "checkout", "-q", "--", ".")
    git(tmp_path, "apply", "-", told=patch)
    assert {name: (tmp_path / name).read_bytes() for name in changed} == changed
