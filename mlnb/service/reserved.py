"""A port number becomes a port that only the workers of one service share.

grpcio takes no socket that is bound already: each worker binds for itself, with SO_REUSEPORT, and whoever binds so, of
the same user, shares the port. A second service would get a part of the first one's calls. So the supervisor takes the
port first without that option, which fails where anybody has it, then sets the option on that socket: from then on its
workers may bind as well, and nobody who asks for the port alone. It listens for a moment only, because that is what
excludes another who does the same: SO_REUSEADDR, without which a port cannot be had again for a minute, lets both bind.

References
----------
Linux, ``inet_csk_bind_conflict``: both sockets must have the option at the time of the second one's bind; socket(7).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from pathlib import Path

from mlnb.errors import PortError

#: As many times its age a connection of gRPC may live until its caller has left it: grpcio spreads ages by a tenth.
LINGERS = 1.2


class Reserved:
    """The ports of one service beside that of HTTP.

    Parameters
    ----------
    host : str
        The address of this machine that HTTP listens on.

    Attributes
    ----------
    used : bool
        Whether a port was ever held.
    """

    def __init__(self, host: str) -> None:
        self.used = False
        self._host = host
        self._sockets: dict[int, socket.socket] = {}

    def hold(self, port: int) -> None:
        """Reserve a port; nothing happens for 0, or where it is held.

        Raises
        ------
        PortError
            If it is taken or not permitted.
        """
        if not port or port in self._sockets:
            return
        held = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            if held.family == socket.AF_INET6:
                held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((self._host, port))
            held.listen(1)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.shutdown(socket.SHUT_RDWR)  # it stays bound, and whoever connects goes to a worker
        except OSError as error:
            held.close()
            reason = "in use" if error.errno == errno.EADDRINUSE else f"not to be had ({error.strerror})"
            raise PortError(
                f"Port {port} on {self._host} is {reason}, so gRPC cannot be answered there.",
                "Choose another grpc_port in [tool.mlnb.service], or stop what listens there.",
                port=port,
            ) from error
        self._sockets[port] = held
        self.used = True

    def keep(self, port: int) -> None:
        """Let go of all but one."""
        for other in [one for one in self._sockets if one != port]:
            self._sockets.pop(other).close()

    def close(self) -> None:
        """Let go of all."""
        self.keep(0)


def wanted(state: Path | None, environ: Mapping[str, str]) -> bool:
    """Say whether a service may want gRPC, without loading what reads its configuration."""
    if environ.get("MLNB_GRPC_PORT", "0") != "0":
        return True
    try:
        return state is not None and b'"grpc_port"' in (state / "service.json").read_bytes()
    except OSError:
        return False


def reserve(host: str, state: Path | None, environ: Mapping[str, str]) -> Reserved:
    """Return the reservation of a service whose folder is `state`.

    Raises
    ------
    PortError
        If its port is taken.
    SettingsError
        If its configuration cannot be read.
    """
    reserved = Reserved(host)
    if wanted(state, environ):
        from mlnb.service.configuration import read_configuration

        reserved.hold(read_configuration(state, environ).grpc_port)
    return reserved
