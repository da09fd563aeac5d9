"""A service's folder becomes what is live in it: aliases, traffic, counts of all workers, and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlnb.service.canary import Event, read_events
from mlnb.service.counts import Arm, Tally, read_counts
from mlnb.service.routing_files import read_aliases
from mlnb.service.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Live:
    """What is live in one service.

    Attributes
    ----------
    aliases : Mapping of str to int
        Version number behind each alias.
    traffic : Mapping of str to Traffic
        By alias, where its requests are spread.
    warm : tuple of int
        Versions that stay loaded, so that going back to one is immediate.
    counts : Mapping of Arm to Tally
        What all workers have counted of the traffic.
    events : tuple of Event
        What the workers did by themselves and nobody has taken over.
    """

    aliases: Mapping[str, int] = field(default_factory=dict)
    traffic: Mapping[str, Traffic] = field(default_factory=dict)
    warm: tuple[int, ...] = ()
    counts: Mapping[Arm, Tally] = field(default_factory=dict)
    events: tuple[Event, ...] = ()

    def ended(self, alias: str) -> Event | None:
        """Return what ended the canary of an alias; None where none runs, or where it goes on."""
        traffic = self.traffic.get(alias)
        return next((event for event in self.events if traffic is not None and event.id == traffic.id), None)


def read_live(folder: Path) -> Live:
    """Return what is live in the service of a folder; nothing where it was never routed."""
    placed = read_aliases(folder)
    if placed is None:
        return Live()
    counts = read_counts(folder, {traffic.id for traffic in placed.traffic.values()})
    return Live(placed.aliases, placed.traffic, placed.warm, counts, read_events(folder))
