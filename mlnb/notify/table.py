"""One table ``[tool.mlnb.notify.NAME]`` becomes the typed options that a kind of channel asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path

from mlnb.errors import SettingsError
from mlnb.notify.allowed import is_allowed
from mlnb.settings import Settings
from mlnb.store.redaction import KNOWN
from mlnb.store.secret import look_up

Secret = Callable[[], str]
"""Reads a secret when something is sent, never earlier."""

_COMMON = ("kind", "events", "models")


class Table:
    """What is declared of one channel; each option is read once, and what nobody has read is refused.

    Parameters
    ----------
    name : str
        The channel's.
    options : mapping
        The table as it is.
    settings : Settings
        Where secrets are kept.
    folder : Path
        The project's.
    """

    def __init__(self, name: str, options: Mapping[str, object], settings: Settings, folder: Path) -> None:
        self.name = name
        self.options = options
        self.folder = folder
        self._settings = settings
        self._asked = list(_COMMON)
        self.guarded = False

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text; without a default it must be there.

        Raises
        ------
        SettingsError
            If it is missing, or no text.
        """
        self._asked.append(key)
        value = self.options.get(key, default)
        if value is None:
            raise self.wrong(key, "is missing")
        if not isinstance(value, str):
            raise self.wrong(key, f"is {value!r}, not a text")
        return value

    def texts(self, key: str, *, needed: bool = False) -> tuple[str, ...]:
        """Return a list of texts, of which there must be one at least where it is needed.

        Raises
        ------
        SettingsError
            If it is something else.
        """
        self._asked.append(key)
        value = self.options.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise self.wrong(key, f"is {value!r}, not a list of texts")
        if needed and not value:
            raise self.wrong(key, "is missing")
        return tuple(value)

    def number(self, key: str, default: float) -> float:
        """Return a number larger than 0.

        Raises
        ------
        SettingsError
            If it is something else.
        """
        self._asked.append(key)
        value = self.options.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise self.wrong(key, f"is {value!r}, not a number larger than 0")
        return value

    def secret(self, key: str) -> Secret | None:
        """Return how to read the secret that an option names; None where it names none."""
        named = self.text(key, "")
        if not named:
            return None
        self.guarded = True

        def read() -> str:
            value = look_up(named, os.environ, self._settings, self.folder)
            KNOWN.add(named, value)
            return value

        return read

    @property
    def allowed(self) -> bool:
        """Whether it may send: it uses no secret and runs no command, or this user has allowed it."""
        return not self.guarded or is_allowed(self.folder, self.name, self.options)

    def check(self) -> None:
        """Refuse what no kind of channel has asked for.

        Raises
        ------
        SettingsError
            Naming the option.
        """
        for key in self.options:
            if key not in self._asked:
                close = get_close_matches(key, self._asked, n=1)
                hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(self._asked)}."
                raise SettingsError(f"[tool.mlnb.notify.{self.name}] has an unknown key {key!r}.", hint, key=key)

    def wrong(self, key: str, what: str) -> SettingsError:
        """Return the error of an option that cannot be used."""
        return SettingsError(
            f"The setting {key} in [tool.mlnb.notify.{self.name}] {what}.",
            "The docstring of mlnb.notify.channel says what each kind of channel needs.",
            key=key,
        )
