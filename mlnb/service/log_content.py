"""A record becomes what may be kept of it: inputs of a share of the rows, without the columns that nobody may read.

Every row is logged with its id, version, answer, status and latency, so that labels join, volumes are right and errors
are seen; only ``inputs`` of an answered row is left out where `Configuration.log_sample` does not choose it. Whether it
does depends on the row's id alone, so anyone can tell.

A redacted column holds null, or where a key is given a keyed digest of its value (HMAC-SHA256, RFC 2104), and the
row's ``inputs`` has a further key `REDACTED` with the names. A caller that such a column names is treated alike. A
refused body is not logged then, nor what was said about its values: only the columns that were named.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Collection, Sequence
from zlib import crc32

import msgspec

from mlnb.service.configuration import Configuration
from mlnb.service.log_record import Record

REDACTED = "mlnb:redacted"
_DIGITS = 32
_REFUSED = 400
_TELLS_NOTHING = frozenset({401, 403, 404, 405, 408, 413, 415, 429, 503})
_COLUMN = re.compile(r"column '([^']*)'")
_LOGGER = logging.getLogger("mlnb.service")


class Content:
    """What is kept of records.

    Parameters
    ----------
    settings : Configuration
        ``log_sample``, ``log_redact`` and ``log_redact_key``.

    Attributes
    ----------
    whole : bool
        Whether everything is kept.
    """

    __slots__ = ("_key", "_names", "_share", "whole")

    def __init__(self, settings: Configuration) -> None:
        self._share = round(settings.log_sample * 2**32)
        self._names = redacted_columns(settings.log_redact)
        self._key = settings.log_redact_key.encode()
        self.whole = settings.log_sample >= 1 and not self._names

    def kept(self, records: Sequence[Record]) -> list[Record]:
        """Return the records as they are logged."""
        return [self._kept(record) for record in records]

    def caller(self, column: str, digest: str) -> str | None:
        """Return what is logged of a caller; `column` is what names callers, "" for a header.

        The digest of a caller has no key: whoever has the log could try all values that a column may have.
        """
        return self._digest(digest) if column in self._names else digest

    def _kept(self, record: Record) -> Record:
        if record.status >= _REFUSED:
            return self._refused(record) if self._names else record
        if record.inputs is None or not sampled(record.id, self._share):
            return record._replace(inputs=None, warnings=None if self._names else record.warnings)
        if not self._names:
            return record
        row = msgspec.json.decode(record.inputs)
        for name in self._names:
            if row.get(name) is not None:
                row[name] = self._digest(row[name])
        row[REDACTED] = list(self._names)
        return record._replace(inputs=msgspec.json.encode(row).decode(), warnings=self._warnings(record.warnings))

    def _refused(self, record: Record) -> Record:
        if record.status in _TELLS_NOTHING:
            return record._replace(inputs=None)
        named = ", ".join(dict.fromkeys(_COLUMN.findall(record.error or "")))
        told = f"Refused with {record.status}; of the body nothing is logged, because columns are redacted."
        return record._replace(inputs=None, error=f"{told} Columns named: {named}." if named else told)

    def _warnings(self, warnings: str | None) -> str | None:
        """Leave out what was said about a column that is redacted: it may hold the value."""
        if warnings is None:
            return None
        told = [one for one in msgspec.json.decode(warnings) if not any(name in str(one) for name in self._names)]
        return msgspec.json.encode(told).decode() if told else None

    def _digest(self, value: object) -> str | None:
        if not self._key:
            return None
        return hmac.new(self._key, msgspec.json.encode(value), "sha256").hexdigest()[:_DIGITS]


def sampled(name: str, share: int) -> bool:
    """Say whether the inputs of a row are logged: its id's CRC-32 is below `share`, of 2**32.

    Examples
    --------
    >>> [sampled(name, 2**31) for name in ("187a5c0b0d9e3f0000000001", "187a5c0b0d9e3f0000000003")]
    [False, True]
    """
    return crc32(name.encode()) < share


def redacted_columns(setting: str) -> tuple[str, ...]:
    """Return the columns that a setting names.

    Examples
    --------
    >>> redacted_columns("ssn, email")
    ('ssn', 'email')
    """
    return tuple(name.strip() for name in setting.split(",") if name.strip())


def warn_of_strangers(setting: str, columns: Collection[str]) -> None:
    """Say in the log which columns a setting names that no model takes: nothing is redacted there."""
    strange = [name for name in redacted_columns(setting) if name not in columns]
    if strange:
        _LOGGER.warning("log_redact names what is no column of this service's models: %s.", ", ".join(strange))
