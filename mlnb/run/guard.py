"""A kernel that knows a secret becomes one that does not tell it: what it says is blotted out before it leaves.

Everything that ipykernel sends goes through its session, so that is where messages are read: streams, results, displays
of every MIME type, errors, comms (widgets) and replies. A secret may be printed in pieces, so the possible beginning of
one at the end of a stream's message is kept back until the next message or the end of the cell. What processes write to
the file descriptors 1 and 2 comes the same way; its raw copy, which ipykernel puts into the kernel's log, is given up.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, cast
from weakref import WeakSet

from mlnb.store.redaction import KNOWN, Stream

_GUARDED: WeakSet[object] = WeakSet()


def guard(shell: Any) -> None:
    """Guard a kernel; a second time changes nothing.

    Parameters
    ----------
    shell : IPython.InteractiveShell
        Of an ipykernel.
    """
    session = shell.kernel.session
    if session in _GUARDED:
        return
    _GUARDED.add(session)
    sender = _Sender(session.send)
    session.send = sender.send
    shell.events.register("post_execute", sender.end_of_cell)
    for stream in _streams():
        _give_up_copy(stream)


class _Sender:
    """Sends a kernel's messages, as its session does, without secrets."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self._streams: dict[str, Stream] = {}
        self._last: dict[str, tuple[Any, Mapping[str, Any], Mapping[str, Any]]] = {}

    def send(self, socket: Any, msg_or_type: Any, *rest: Any, **named: Any) -> Any:
        """Take the place of ``Session.send``."""
        if not KNOWN:
            return self._send(socket, msg_or_type, *rest, **named)
        named = {
            key: KNOWN.json(value) if key in {"content", "metadata", "buffers"} else value
            for key, value in named.items()
        }
        if not isinstance(msg_or_type, dict):
            rest = (KNOWN.json(rest[0]), *rest[1:]) if rest else rest
            return self._send(socket, msg_or_type, *rest, **named)
        if msg_or_type.get("msg_type") == "stream":
            return self._piece(socket, msg_or_type, named)
        clean = {part: KNOWN.json(msg_or_type.get(part)) for part in ("content", "metadata")}
        return self._send(socket, {**msg_or_type, **clean}, *rest, **named)

    def end_of_cell(self) -> None:
        """Say what was kept back: no more will come."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # whatever the user has put there
                stream.flush()
        for name, stream in self._streams.items():
            text = stream.end()
            if text:
                socket, message, named = self._last[name]
                self._send(socket, {**message, "content": {"name": name, "text": text}}, **named)

    def _piece(self, socket: Any, message: Mapping[str, Any], named: Mapping[str, Any]) -> Any:
        name = str(message["content"]["name"])
        self._last[name] = (socket, message, named)
        text = self._streams.setdefault(name, Stream(KNOWN)).feed(message["content"]["text"])
        if not text:
            return message
        return self._send(socket, {**message, "content": {"name": name, "text": text}}, **named)


def _streams() -> Iterator[Any]:
    """Yield the kernel's own stdout and stderr, although something (``%%capture``) may stand in their place now."""
    from ipykernel.iostream import OutStream

    placed = [stream for stream in (sys.stdout, sys.stderr) if issubclass(type(stream), OutStream)]
    if len(placed) == 2:
        yield from placed
    else:
        yield from (thing for thing in gc.get_objects() if issubclass(type(thing), OutStream))


def _give_up_copy(stream: Any) -> None:
    """Send nowhere what ipykernel copies raw to the kernel's log; a crash of the interpreter is still told there."""
    copy = cast("int | None", getattr(stream, "_original_stdstream_copy", None))
    if copy is None:
        return
    with suppress(OSError):
        if faulthandler.is_enabled():
            faulthandler.enable(file=os.dup(copy))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, copy)
        os.close(nowhere)
