"""The tables ``[tool.mlnb.notify.NAME]`` become the channels by which people are told what happened to models.

Every table has a ``kind``, and may name the ``events`` (``promotion``, ``alarm``, ``retraining``) and the ``models``
that it is limited to; without, it tells everything. What the kinds need:

========= ===================================================================================================
webhook   ``url`` or ``url_secret``; ``signing_secret`` (see `mlnb.notify.webhook`)
slack     ``url`` or ``url_secret``
email     ``host``, ``from``, ``to`` (a list); ``port``, ``security`` (``starttls``, ``tls`` or ``none``), ``ca``,
          ``user`` with ``password_secret``
command   ``argv`` (a list); ``timeout_s``
========= ===================================================================================================

``..._secret`` is the name of a secret, which is read when something is sent (`mlnb.store.secret`). A channel that uses
one, or runs a command, sends only after ``mlnb doctor --allow NAME`` (`mlnb.notify.allowed`). Other kinds come in by
entry points of ``mlnb.channels``, which make a `Notifier` of a `Table`; entry points of ``mlnb.notifiers`` make one of
the settings, or None, and tell everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from mlnb import plugins
from mlnb.errors import PluginError, SettingsError
from mlnb.notify.table import Table
from mlnb.settings import Settings

NOTIFIERS, KINDS = "mlnb.notifiers", "mlnb.channels"
EVENTS = ("promotion", "alarm", "retraining")


class Notifier(Protocol):
    """Tells people of an event."""

    def send(self, event: Mapping[str, object], key: str) -> None:
        """Send one event.

        Parameters
        ----------
        event : mapping of str to JSON value
            With ``event``, one of `EVENTS` or ``test``, ``text``, a sentence, and what else is known.
        key : str
            The same whenever this event is sent again, and of no other.

        Raises
        ------
        MlnbError
            If it did not arrive, or nobody knows whether it did; it is sent again.
        """
        ...


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to tell people.

    Attributes
    ----------
    name, kind : str
    notifier : Notifier
    events, models : tuple of str
        What it is limited to; empty for everything.
    table : Table or None
        What it was declared by.
    """

    name: str
    kind: str
    notifier: Notifier = field(repr=False)
    events: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    table: Table | None = field(default=None, repr=False)

    @property
    def allowed(self) -> bool:
        """Whether this user lets it send."""
        return self.table is None or self.table.allowed

    def wants(self, event: str, model: str) -> bool:
        """Return whether it tells of such an event of a model."""
        return (not self.events or event in self.events) and (not self.models or model in self.models)

    def tell(self, event: Mapping[str, object], key: str) -> None:
        """Send an event.

        Raises
        ------
        MlnbError
            If this user has not allowed the channel, or the event did not arrive.
        """
        if not self.allowed:
            raise SettingsError(
                f"The channel {self.name} uses secrets or runs a command, and you have not allowed that.",
                f"Read its table in pyproject.toml, then: mlnb doctor --allow {self.name}.",
                key=self.name,
            )
        self.notifier.send(event, key)

    def described(self) -> str:
        """Return what it does in a few words, without its secrets."""
        place = getattr(self.notifier, "place", "")  # notifiers of plug-ins need not have one
        what = " and ".join(self.events) or "everything"
        whose = f" of {' and '.join(self.models)}" if self.models else ""
        return f"{self.kind}{' to ' if place else ''}{place}; tells {what}{whose}"


def channels(settings: Settings, folder: Path) -> dict[str, Channel]:
    """Return the channels that are set up, by name.

    Parameters
    ----------
    folder : Path
        The project's, where secrets may lie and commands run.

    Raises
    ------
    SettingsError
        If one is declared wrongly.
    """
    found = {}
    for name in plugins.names(NOTIFIERS):
        make = cast("Callable[[Settings], Notifier | None]", plugins.load(NOTIFIERS, name))
        notifier = make(settings)
        if notifier is not None:
            found[name] = Channel(name, name, notifier)
    for name, options in settings.notify.items():
        if not isinstance(options, dict):
            raise SettingsError(
                f"The setting notify.{name} is {options!r}, not a table.", f"Write [tool.mlnb.notify.{name}].", key=name
            )
        if name in found:
            raise SettingsError(
                f"Two notifiers are called {name}: one of [tool.mlnb.notify], and one that is installed or of "
                "notify_url.",
                "Give the table another name.",
                key=name,
            )
        found[name] = _declared(Table(name, options, settings, folder))
    return found


def _declared(table: Table) -> Channel:
    kind = table.text("kind")
    try:
        make = cast("Callable[[Table], Notifier]", plugins.load(KINDS, kind))
    except PluginError as error:
        raise SettingsError(
            f"[tool.mlnb.notify.{table.name}] has the kind {kind!r}, which is none.",
            f"Kinds: {', '.join(plugins.names(KINDS))}.",
            key="kind",
        ) from error
    notifier, events, models = make(table), table.texts("events"), table.texts("models")
    table.check()
    for event in events:
        if event not in EVENTS:
            raise table.wrong("events", f"names {event!r}, not {', '.join(EVENTS[:-1])} or {EVENTS[-1]}")
    return Channel(table.name, kind, notifier, events, models, table)
