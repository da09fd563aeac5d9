"""A certificate and its key become the TLS of a service's gRPC face, and are renewed without a restart.

Carried into the service, and loaded only where ``grpc_port`` and ``tls_cert`` are set: grpcio. See `mlnb.service.tls`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from time import monotonic
from typing import Any

import grpc

from mlnb.errors import SettingsError
from mlnb.service.configuration import Configuration
from mlnb.service.tls import LOOK_S, certificate_of, server_context, stamps_of

_LOGGER = logging.getLogger("mlnb.service")


def credentials_of(configuration: Configuration) -> Any:
    """Return what grpcio answers handshakes with."""
    renewal = _Renewal(configuration)
    return grpc.dynamic_ssl_server_credentials(
        renewal.read(), renewal.newest, require_client_authentication=bool(configuration.tls_client_ca)
    )


class _Renewal:
    """Gives each handshake the newest certificate; grpcio asks in a thread of its own."""

    def __init__(self, configuration: Configuration) -> None:
        self._chosen = certificate_of(configuration)
        self._seen = stamps_of(self._chosen)
        self._looked = monotonic()

    def read(self) -> Any:
        """Return what the files hold."""
        server_context(self._chosen)  # says what is wrong with them
        authorities = Path(self._chosen.client_ca).read_bytes() if self._chosen.client_ca else None
        pair = (Path(self._chosen.key).read_bytes(), Path(self._chosen.cert).read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], authorities)

    def newest(self) -> Any:
        """Return what the files hold where they have changed, else None: what was given stays."""
        now = monotonic()
        if now - self._looked < LOOK_S:
            return None
        self._looked = now
        stamps = stamps_of(self._chosen)
        if stamps == self._seen:
            return None
        self._seen = stamps
        try:
            return self.read()
        except (SettingsError, OSError) as error:
            _LOGGER.error("The renewed certificate is not taken up for gRPC, the old one stays: %s", error)
            return None
