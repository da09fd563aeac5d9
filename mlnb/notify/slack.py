"""An event becomes a message as Slack's incoming webhooks take it, and those of Mattermost, Rocket.Chat and Discord.

``text`` is what a phone shows; ``blocks`` say the same with the event's kind and model below. ``&``, ``<`` and ``>``
are escaped, so that nobody is mentioned and nothing linked by the name of a model.

References
----------
https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
https://docs.slack.dev/reference/block-kit/blocks/section-block: at most 3,000 characters of text
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlnb.notify.post import Address, address_in, post
from mlnb.notify.table import Table

_LONGEST = 3_000


@dataclass(frozen=True, slots=True)
class Slack:
    """Posts to a chat.

    Attributes
    ----------
    address : callable
        Returns where to.
    place : str
        What may be told of it.
    """

    address: Address = field(repr=False)
    place: str

    @classmethod
    def declared(cls, table: Table) -> Slack:
        """Return that of a table; an entry point of ``mlnb.channels``."""
        return cls(*address_in(table))

    def send(self, event: Mapping[str, object], key: str) -> None:
        """Post one event.

        Raises
        ------
        RemoteError
            If it did not arrive, or nobody knows whether it did.
        """
        text = _cut(_escaped(str(event.get("text", ""))))
        below = " · ".join(_escaped(str(event[name])) for name in ("event", "model", "at") if event.get(name))
        blocks = [
            {"type": "section", "text": {"type": "mrkdwn", "text": text}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": _cut(below)}]},
        ]
        body = json.dumps({"text": text, "blocks": blocks if text else blocks[1:]}).encode()
        post(self.address(), body, {"Idempotency-Key": key})


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rpartition(" ")[0] + "…"
