"""The process that serves a Bento: ``python -m mlnb.service.serve``.

It runs from the Bento's source folder with the copy of mlnb that the Bento carries; it needs numpy, msgspec, uvicorn
and what the packages' own runtimes ask for.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from mlnb.errors import MlnbError
from mlnb.service.app import Application

_PARENT_POLL_S = 0.2


def main(arguments: list[str] | None = None) -> int:
    """Serve the Bento that this module was loaded from, until SIGTERM or SIGINT.

    Returns
    -------
    int
        0, or 2 where nothing could be served; the reason is on standard error.
    """
    parser = argparse.ArgumentParser(prog="python -m mlnb.service.serve", description=main.__doc__)
    parser.add_argument("act", nargs="?", choices=["serve"], help="what SageMaker says to an image; there is no other")
    parser.add_argument("--host", default=os.environ.get("MLNB_HOST", "127.0.0.1"))
    parser.add_argument(
        "--port", type=int, default=int(os.environ.get("AIP_HTTP_PORT") or os.environ.get("PORT", "3000"))
    )
    parser.add_argument("--fd", type=int, help="an inherited listening socket, instead of host and port")
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started this one ends")
    chosen = parser.parse_args(arguments)
    try:
        application = Application.from_environment(Path(__file__).resolve().parents[2], os.environ)
        application.open()
        listener = _listen(chosen.host, chosen.port) if chosen.fd is None else socket.socket(fileno=chosen.fd)
        # Accepted sockets inherit it; asyncio would set it only where it can tell that the socket is TCP.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (MlnbError, OSError) as error:
        print(f"mlnb.service: {error}", file=sys.stderr)
        return 2
    if chosen.with_parent:
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    _serve(application, listener)
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _serve(application: Application, listener: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        application,
        lifespan="on",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
