"""The process that serves a Bento: ``python -m mlnb.service.serve``.

It runs from the Bento's source folder with the copy of mlnb that the Bento carries, and becomes the supervisor, which
starts itself once more as each of its workers. It needs numpy, msgspec, uvicorn with uvloop and httptools, and what the
packages' own runtimes ask for; the supervisor only the standard library.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

from mlnb.errors import MlnbError
from mlnb.service.launch import launch, make_table
from mlnb.service.reserved import reserve

_BACKLOG = 2048


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
    port = os.environ.get("AIP_HTTP_PORT") or os.environ.get("PORT") or "3000"
    parser.add_argument("--port", type=_port, default=port)
    parser.add_argument("--fd", type=int, help="an inherited listening socket, instead of host and port")
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started this one ends")
    for inherited in ("--worker", "--table", "--place"):
        parser.add_argument(inherited, type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.worker is not None:
        from mlnb.service.worker import Inherited, work

        source = Path(__file__).resolve().parents[2]
        return work(source, Inherited(chosen.fd, chosen.worker, chosen.table, chosen.place))
    parent = os.getppid() if chosen.with_parent else 0
    named = os.environ.get("MLNB_SERVICE_STATE")
    state = Path(named) if named else None
    try:
        listener = _listen(chosen.host, chosen.port) if chosen.fd is None else socket.socket(fileno=chosen.fd)
        reserved = reserve(listener.getsockname()[0], state, os.environ)
        table = make_table()
        first = launch(listener, table, 0)
    except (OSError, MlnbError) as error:
        print(f"mlnb.service: {error}", file=sys.stderr)
        return 2
    from mlnb.service.supervisor import Supervisor  # while the first worker loads

    return Supervisor(listener, table, first, state, parent, reserved).run()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text[:6]) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port, which is a number from 0 to 65535")
    return int(text)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


if __name__ == "__main__":
    sys.exit(main())
