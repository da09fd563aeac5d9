"""Who acts, and how that is known: the system says it, or somebody's environment does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.errors import SettingsError
from mlnb.identity import Identity, identify, in_lab, system_user, who

NAMES = st.from_regex(r"[\w.@+-][\w.@+ \[\]-]{0,20}", fullmatch=True)
WHOAMI = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()


@given(NAMES, st.sampled_from(["claimed", "github", "gitlab", "jupyter"]), NAMES)
def test_what_is_written_is_read(name: str, how: str, system: str) -> None:
    identity = Identity(name, how, system)
    assert Identity.parse(str(identity)) == identity
    assert Identity.parse(name) == Identity(name)


@pytest.mark.parametrize(
    ("environ", "written"),
    [
        ({}, WHOAMI),
        ({"USER": "root2", "LOGNAME": "eve", "USERNAME": "eve"}, WHOAMI),
        ({"MLNB_USER": "anna"}, f"claimed:anna (os {WHOAMI})"),
        ({"GITHUB_ACTOR": "octocat"}, WHOAMI),
        ({"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "octocat"}, f"github:octocat (os {WHOAMI})"),
        (
            {"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "dependabot[bot]"},
            f"github:dependabot[bot] (os {WHOAMI})",
        ),
        ({"GITLAB_CI": "true", "GITLAB_USER_LOGIN": "anna"}, f"gitlab:anna (os {WHOAMI})"),
        ({"JUPYTERHUB_USER": "anna"}, f"jupyter:anna (os {WHOAMI})"),
        ({"MLNB_USER": "anna", "JUPYTERHUB_USER": "bert"}, f"claimed:anna (os {WHOAMI})"),
    ],
)
def test_a_name_keeps_what_says_so(environ: dict[str, str], written: str) -> None:
    assert str(identify(environ)) == written


def test_the_variable_user_makes_nobody_somebody_else() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "from mlnb.identity import who; print(who())"],
        env={**os.environ, "USER": "eve", "LOGNAME": "eve"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == WHOAMI == system_user() == who()


@pytest.mark.parametrize("name", ["anna\nroot", "anna (os root)", "github:octocat", " anna", "a" * 129, "\x1b[31m"])
def test_what_is_nobodys_name_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="which is nobody's name"):
        identify({"MLNB_USER": name})
    with pytest.raises(SettingsError):
        in_lab(name, False)


def test_lab_names_its_user_and_who_only_holds_its_token_is_the_server_s_own() -> None:
    assert in_lab("anna", False) == f"jupyter:anna (os {WHOAMI})"
    assert in_lab("0f1e2d3c", True) == WHOAMI == who()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("anna", "Anna", True),
        ("anna", "jupyter:anna (os hub)", True),
        ("anna", "bert", False),
        ("jupyter:anna (os hub)", "jupyter:bert (os hub)", False),
        ("github:a (os runner)", "github:b (os runner)", False),
        ("anna", "claimed:bert (os anna)", True),
        ("anna", "github:octocat (os anna)", True),
        ("github:octocat (os runner)", "jupyter:bert (os runner)", True),
        ("anna", "github:octocat (os runner)", False),
        ("claimed:anna (os ci)", "claimed:bert (os ci)", True),
        ("claimed:anna (os ci)", "claimed:bert (os other)", False),
    ],
)
def test_claiming_another_name_makes_no_second_person(one: str, other: str, same: bool) -> None:
    assert Identity.parse(one).may_be(Identity.parse(other)) is same
    assert Identity.parse(other).may_be(Identity.parse(one)) is same
