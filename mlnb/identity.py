"""The user of this process, a CI job or a person in Lab becomes an `Identity`: who acts, and how that is known.

Written ``anna`` for the operating system's user, else with what says so and the user of the process that believed it:
``github:octocat (os runner)``, ``gitlab:anna (os runner)``, ``jupyter:anna (os jovyan)``, and
``claimed:anna (os runner)`` for the variable ``MLNB_USER``. The operating system's user is asked of the kernel, not of
variables such as ``USER``. All other names are as good as the environment that they come from, and keep their prefix
wherever they are shown, matched with a policy, or counted as a second person.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from mlnb.errors import SettingsError

CLAIMED, GITHUB, GITLAB, JUPYTER = "claimed", "github", "gitlab", "jupyter"
_WRITTEN = re.compile(rf"(?:({CLAIMED}|{GITHUB}|{GITLAB}|{JUPYTER}):)?(.*?)(?: \(os (.*)\))?", re.S)
_NAME = re.compile(r"[\w.@+-][\w.@+ \[\]-]{0,127}")
_SAID = (  # variable, the one that must be set beside it, what says so
    ("MLNB_USER", "", CLAIMED),
    ("GITHUB_ACTOR", "GITHUB_ACTIONS", GITHUB),
    ("GITLAB_USER_LOGIN", "GITLAB_CI", GITLAB),
    ("JUPYTERHUB_USER", "", JUPYTER),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who acts.

    Attributes
    ----------
    name : str
        The person's or the job's name.
    how : str
        What says so: ``claimed``, ``github``, ``gitlab`` or ``jupyter``; empty for the operating system.
    system : str
        The operating system's user who acted under that name; empty where `name` is that user.
    """

    name: str
    how: str = ""
    system: str = ""

    @classmethod
    def parse(cls, text: str) -> Identity:
        """Read what `__str__` has written; whatever else it is stands for a user of the operating system.

        Examples
        --------
        >>> Identity.parse("github:octocat (os runner)")
        Identity(name='octocat', how='github', system='runner')
        """
        found = _WRITTEN.fullmatch(text)
        if found is None or not found[1]:
            return cls(text)
        return cls(found[2], found[1], found[3] or "")

    @property
    def spelled(self) -> str:
        """Return it as a policy names it: ``anna``, ``github:octocat``."""
        return f"{self.how}:{self.name}" if self.how else self.name

    def __str__(self) -> str:
        return f"{self.spelled} (os {self.system})" if self.system else self.spelled

    def may_be(self, other: Identity) -> bool:
        """Say whether both may be one person.

        Equal names are, however they are known. So are two names under which one user of the operating system has
        acted, unless the same CI or the same hub, which both have one user for everybody, tells them apart: who can
        set a variable makes no second person of himself by it.
        """
        if self.name.casefold() == other.name.casefold():
            return True
        return self._user == other._user and (self.how != other.how or self.how in ("", CLAIMED))

    @property
    def _user(self) -> str:
        return self.system or self.name


def who() -> str:
    """Return who acts, as the audit log writes it.

    Raises
    ------
    SettingsError
        If a variable that names somebody holds what is no name.
    """
    return str(identify(os.environ))


def identify(environ: Mapping[str, str]) -> Identity:
    """Return whom the environment of this process names, the operating system's user where it names nobody.

    Raises
    ------
    SettingsError
        If a variable that names somebody holds what is no name.
    """
    for variable, beside, how in _SAID:
        if environ.get(variable) and (not beside or environ.get(beside)):
            return Identity(_checked(environ[variable], variable), how, system_user())
    return Identity(system_user())


def in_lab(username: str, anonymous: bool) -> str:
    """Return who acts for a user whom jupyter_server names, as the audit log writes it.

    Raises
    ------
    SettingsError
        If that is no name.

    Notes
    -----
    Where the server only checks its token or password, the user is anonymous and the name a random one: who holds the
    token acts as the server's own user, and is written so.
    """
    system = system_user()
    return system if anonymous else str(Identity(_checked(username, JUPYTER), JUPYTER, system))


def system_user() -> str:
    """Return the user that the operating system runs this process as, whatever variables say."""
    if not hasattr(os, "getuid"):
        return getpass.getuser()
    try:
        name: str = import_module("pwd").getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
    return name


def _checked(name: str, source: str) -> str:
    if _NAME.fullmatch(name):
        return name
    raise SettingsError(
        f"{source} holds {name!r}, which is nobody's name.",
        "Use 1 to 128 letters, digits, spaces and . @ + _ - [ ], no space or bracket first.",
        key=source,
    )
