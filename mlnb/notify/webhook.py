"""An event becomes a JSON message to a web address, signed where a key is given.

Without a table of its own the setting `notify_url` is such an address; ``MLNB_NOTIFY_URL`` keeps it out of the project.

Signed as Standard Webhooks 1.0.0 says, so that their libraries verify it: ``webhook-id`` is the same at every try,
``webhook-timestamp`` the second of this try since 1970, and ``webhook-signature`` is ``v1,`` and the base64 of the
HMAC-SHA256 of ``<id>.<timestamp>.<body>``. A receiver refuses timestamps that are more than five minutes off, and ids
that it has seen: that is what keeps a message from being replayed. The key is a secret: ``whsec_`` and base64, or any
other text, whose UTF-8 bytes are then the key.

References
----------
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mlnb.errors import SecretError
from mlnb.notify.post import Address, address_in, host_of, parsed, post
from mlnb.notify.table import Secret, Table
from mlnb.settings import Settings

_PREFIX = "whsec_"


@dataclass(frozen=True, slots=True)
class Webhook:
    """Posts events.

    Attributes
    ----------
    address : callable
        Returns where to.
    place : str
        What may be told of it.
    key : callable or None
        Returns the key under which messages are signed.
    clock : callable
        Returns the present time, seconds since 1970.
    """

    address: Address = field(repr=False)
    place: str
    key: Secret | None = field(default=None, repr=False)
    clock: Callable[[], float] = time.time

    @classmethod
    def of(cls, settings: Settings) -> Webhook | None:
        """Return that of `notify_url`, an entry point of ``mlnb.notifiers``; None where it is not set.

        Raises
        ------
        SettingsError
            If it is not an address of the web.
        """
        if not settings.notify_url:
            return None
        url = parsed(settings.notify_url, "notify_url")
        return cls(lambda: url, host_of(url))

    @classmethod
    def declared(cls, table: Table) -> Webhook:
        """Return that of a table; an entry point of ``mlnb.channels``."""
        address, place = address_in(table)
        key = table.secret("signing_secret")
        return cls(address, f"{place}, {'signed' if key else 'not signed'}", key)

    def send(self, event: Mapping[str, object], key: str) -> None:
        """Post one event.

        Raises
        ------
        RemoteError
            If it did not arrive, or nobody knows whether it did.
        SecretError
            If the key cannot be read.
        """
        body = json.dumps(event).encode()
        headers = {"Idempotency-Key": key}
        if self.key is not None:
            at = int(self.clock())
            signature = signed(self.key(), key, at, body)
            headers |= {"webhook-id": key, "webhook-timestamp": str(at), "webhook-signature": signature}
        post(self.address(), body, headers)


def signed(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """Return the header ``webhook-signature``.

    Raises
    ------
    SecretError
        If the key begins as base64 and is none.

    Examples
    --------
    >>> id, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}'
    >>> signed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", id, 1614265330, body)
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    key = secret.encode()
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raise SecretError(
                f"A key that begins with {_PREFIX} must go on in base64; this one does not.",
                f"Make one: echo {_PREFIX}$(openssl rand -base64 32).",
                name="signing_secret",
            ) from None
    digest = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()
