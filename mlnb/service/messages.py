"""What a service has to say becomes lines of its log: text for people, or one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime

FORMATS = ("text", "json")
_FIELDS = ("request_id", "trace_id", "method", "route", "status", "duration_ms", "version")
_ACCESSES = logging.getLogger("mlnb.service.access")


def line(form: str, level: str, message: str, fields: Mapping[str, object], trace: str = "") -> str:
    """Return one line; as text a stack trace follows it on lines of its own.

    Parameters
    ----------
    form : {"text", "json"}
        See `FORMATS`.
    level : str
        ``info``, ``warning``, ``error``.
    message : str
        What is said.
    fields : Mapping
        What it is about.
    trace : str
        Where it happened.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if form == "json":
        told = {"time": now, "level": level, "message": message, **fields, **({"trace": trace} if trace else {})}
        return json.dumps(told, ensure_ascii=False, default=str)
    about = "".join(f" {name}={value}" for name, value in fields.items())
    return f"{now} {level.upper()} {message}{about}" + (f"\n{trace.rstrip()}" if trace else "")


class Lines(logging.Formatter):
    """Makes lines of log records.

    Parameters
    ----------
    form : {"text", "json"}
        See `FORMATS`.
    """

    def __init__(self, form: str) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        fields = {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        about = {"pid": record.process, **fields}
        return line(self._form, record.levelname.lower(), record.getMessage(), about, trace)


def write_to_standard_error(form: str, *, accesses: bool) -> None:
    """Send all that this process logs to standard error; information about single requests only with `accesses`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    _ACCESSES.setLevel(logging.INFO if accesses else logging.WARNING)
    logging.captureWarnings(capture=True)


def log_access(method: str, route: str, status: int, version: str, seconds: float, request_id: str) -> None:
    """Log one answered request: its route, not its path, in which a caller may have put anything."""
    fields: dict[str, object] = {"method": method, "route": route, "status": status}
    fields |= {"duration_ms": round(seconds * 1000, 3), "request_id": request_id}
    _ACCESSES.info("answered", extra=fields | ({"version": version} if version else {}))
